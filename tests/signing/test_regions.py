"""Finding the region of a bucket: on a server with regions, and on one with responses of the test."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from anyio.from_thread import BlockingPortal

from bulkpresign.aws import AUTO
from bulkpresign.errors import ParameterError, RegionError, SigningError
from bulkpresign.model import ObjectRef
from bulkpresign.signing.presigner import Presigner
from tests.conftest import AwsEnv, Boto
from tests.servers.server import S3Server
from tests.signing.oracle import ACCESS_KEY, SECRET_KEY

EUROPE, HOME = "regions-europe", "regions-home"


@pytest.fixture(scope="module")
def buckets(ministack: S3Server, boto: Boto) -> list[str]:
    """One in eu-west-1, one in us-east-1."""
    client = boto(ministack)
    client.create_bucket(Bucket=EUROPE, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.create_bucket(Bucket=HOME)
    return [EUROPE, HOME]


@pytest.fixture
def _ministack(ministack: S3Server, aws_env: AwsEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    aws_env(ministack)
    monkeypatch.delenv("AWS_DEFAULT_REGION")


@contextmanager
def opened(portal: BlockingPortal, region: str | None = AUTO) -> Iterator[Presigner]:
    with portal.wrap_async_context_manager(Presigner(region)) as presigner:
        yield presigner


def region_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")[2]


def refs(*buckets: str) -> list[ObjectRef]:
    return [ObjectRef(bucket, f"key {number}") for number, bucket in enumerate(buckets)]


# -- a server that minds


@pytest.mark.usefixtures("_ministack")
def test_links_of_several_regions_in_one_batch(portal: BlockingPortal, buckets: list[str]) -> None:
    async def signed() -> list[str]:
        objects = refs(*buckets, *buckets)
        return [link.url async for links in presigner.sign(objects, "PUT", batch_size=3) for link in links]

    with opened(portal) as presigner:
        urls = portal.call(signed)
        assert [region_in(url) for url in urls] == ["eu-west-1", "us-east-1"] * 2
        responses = [requests.put(url, data=b"x", allow_redirects=False, timeout=30) for url in urls]
        assert [response.status_code for response in responses] == [200] * 4
        assert [region_in(url) for url in presigner.url_batch(EUROPE, ["a"])] == ["eu-west-1"]
    with opened(portal, None) as presigner:
        (url,) = presigner.url_batch(EUROPE, ["key"], "PUT")
        assert requests.put(url, data=b"x", allow_redirects=False, timeout=30).status_code == 301


@pytest.mark.usefixtures("_ministack")
def test_the_region_of_a_row_is_used_without_a_request(
    portal: BlockingPortal, buckets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [ObjectRef(EUROPE, "k", extra={"region": "eu-west-1"}), ObjectRef(HOME, "k")]
    for region in ("us-east-1", None):
        with opened(portal, region) as presigner:
            links = presigner.sign_batch(rows, "PUT")
            assert [region_in(link.url) for link in links] == ["eu-west-1", "us-east-1"]
            assert [requests.put(link.url, data=b"x", timeout=30).status_code for link in links] == [200, 200]
            posts = presigner.post_batch(rows)
            assert [post.fields["x-amz-credential"].split("/")[2] for post in posts] == ["eu-west-1", "us-east-1"]
    with opened(portal) as presigner:
        portal.call(presigner.prepare, rows)
        assert presigner.aws.region_of(HOME) == "us-east-1"
        with pytest.raises(RegionError):
            presigner.aws.region_of(EUROPE)


@pytest.mark.usefixtures("_ministack")
def test_every_async_method_asks_for_the_region(portal: BlockingPortal, buckets: list[str]) -> None:
    with opened(portal) as presigner:
        put = portal.call(presigner.presign, "put_object", {"Bucket": EUROPE, "Key": "a"})
        assert requests.put(put.url, data=b"x", allow_redirects=False, timeout=30).status_code == 200
    with opened(portal) as presigner:
        form = portal.call(presigner.presign_post, EUROPE, "k")
        assert "/eu-west-1/s3/" in form.fields["x-amz-credential"]
        assert region_in(portal.call(presigner.presign, "list_buckets").url) == "us-east-1"


@pytest.mark.usefixtures("_ministack")
def test_batches_do_not_wait(portal: BlockingPortal, buckets: list[str]) -> None:
    with opened(portal) as presigner:
        for attempt in (
            lambda: presigner.url_batch(EUROPE, ["k"]),
            lambda: presigner.sign_batch(refs(EUROPE)),
            lambda: presigner.post_batch(refs(EUROPE)),
        ):
            with pytest.raises(RegionError, match=rf"{EUROPE}: .* await presigner.refresh\(\['{EUROPE}'\]\)"):
                attempt()
        portal.call(presigner.refresh, [EUROPE])
        assert region_in(presigner.url_batch(EUROPE, ["k"])[0]) == "eu-west-1"
        assert presigner.sign_batch(refs(EUROPE)) and presigner.post_batch(refs(EUROPE))


@pytest.mark.usefixtures("_ministack")
def test_a_bucket_that_is_not_there(portal: BlockingPortal, buckets: list[str]) -> None:
    with opened(portal) as presigner:
        with pytest.raises(RegionError, match=r"the region of no-such-bucket can't be found: .*NoSuchBucket"):
            portal.call(presigner.refresh, [EUROPE, "no-such-bucket", HOME])
        assert presigner.url_batch(EUROPE, ["k"]) and presigner.url_batch(HOME, ["k"])


@pytest.mark.parametrize("fixture", ["seaweedfs", "ceph"])
def test_servers_without_regions(
    request: pytest.FixtureRequest, portal: BlockingPortal, aws_env: AwsEnv, boto: Boto, fixture: str
) -> None:
    server: S3Server = request.getfixturevalue(fixture)
    aws_env(server)
    boto(server).create_bucket(Bucket=HOME)
    with opened(portal) as presigner:
        portal.call(presigner.refresh, [HOME])
        (url,) = presigner.url_batch(HOME, ["k"], "PUT")
        assert region_in(url) == "auto"
        assert requests.put(url, data=b"x", timeout=30).status_code == 200


# -- answers as AWS gives them

Response = tuple[int, dict[str, str], str]
_LOCATION = '<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{}</LocationConstraint>'
_DENIED: Response = (403, {}, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")


@contextmanager
def s3(
    monkeypatch: pytest.MonkeyPatch, responses: dict[str, Response], arrived: Callable[[], object] = lambda: None
) -> Iterator[Counter[str]]:
    """A server that gives these answers by method and path; counts what it was asked."""
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def response(self) -> None:
            what = f"{self.command} {self.path}"
            asked[what] += 1
            arrived()
            status, headers, body = responses[what]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body.encode())

        do_GET = do_HEAD = response  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def told(status: int, region: str) -> Response:
    return status, {"x-amz-bucket-region": region}, ""


@pytest.mark.parametrize("status", [200, 301, 307, 400, 403])
def test_a_refused_bucket_has_its_region_in_the_response(
    portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    responses = {"HEAD /bucket": told(status, "ap-south-1")}
    with s3(monkeypatch, responses), opened(portal) as presigner:
        portal.call(presigner.refresh, ["bucket"])
        assert region_in(presigner.url_batch("bucket", ["k"])[0]) == "ap-south-1"


@pytest.mark.parametrize(
    ("constraint", "region"), [("", "us-east-1"), ("EU", "eu-west-1"), ("us-west-2", "us-west-2"), ("RegionOne",) * 2]
)
def test_get_bucket_location_is_used_if_head_bucket_has_no_region(
    portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch, constraint: str, region: str
) -> None:
    responses = {"HEAD /bucket": _DENIED, "GET /bucket?location": (200, {}, _LOCATION.format(constraint))}
    with s3(monkeypatch, responses), opened(portal) as presigner:
        portal.call(presigner.refresh, ["bucket"])
        assert region_in(presigner.url_batch("bucket", ["k"])[0]) == region


def test_a_server_whose_region_is_auto(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Cloudflare R2, whose region is `auto`. Its tokens for objects may not ask for the location of a bucket."""
    with s3(monkeypatch, {"HEAD /bucket": (200, {}, "")}) as asked, opened(portal) as presigner:
        portal.call(presigner.refresh, ["bucket"])
        assert region_in(presigner.url_batch("bucket", ["k"])[0]) == "auto"
        assert region_in(portal.call(presigner.presign, "get_object", {"Bucket": "bucket", "Key": "k"}).url) == "auto"
        assert asked == {"HEAD /bucket": 1}


def test_no_response_has_a_region(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3(monkeypatch, {"HEAD /bucket": _DENIED, "GET /bucket?location": _DENIED}), opened(portal) as presigner:
        with pytest.raises(RegionError, match=r"the region of bucket can't be found: .*AccessDenied"):
            portal.call(presigner.refresh, ["bucket"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        with opened(portal) as other, pytest.raises(RegionError, match="the region of bucket can't be found"):
            portal.call(other.refresh, ["bucket"])


@pytest.mark.parametrize("response", [(200, {}, "no xml"), (200, {}, _LOCATION.format("eu west")), (500, {}, "<a")])
def test_a_response_without_a_valid_region(
    portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch, response: Response
) -> None:
    responses = {"HEAD /bucket": _DENIED, "GET /bucket?location": response}
    with (
        s3(monkeypatch, responses),
        opened(portal) as presigner,
        pytest.raises((RegionError, SigningError), match="region"),
    ):
        portal.call(presigner.presign, "get_object", {"Bucket": "bucket", "Key": "k"})


def test_each_bucket_is_asked_once_concurrently(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"bucket-{number}" for number in range(5)]
    together = threading.Barrier(len(names), timeout=20)  # breaks, and the test with it, where one waits for another
    responses = {f"HEAD /{name}": told(200, f"eu-west-{number}") for number, name in enumerate(names, 1)}
    with s3(monkeypatch, responses, together.wait) as asked, opened(portal) as presigner:

        async def signed() -> list[str]:
            return [link.url async for links in presigner.sign(refs(*names, *names), batch_size=5) for link in links]

        futures = [portal.start_task_soon(signed) for _ in range(3)]
        for future in futures:
            assert [region_in(url) for url in future.result()] == [f"eu-west-{number}" for number in range(1, 6)] * 2
        assert asked == {f"HEAD /{name}": 1 for name in names}


def test_an_access_point_has_its_region_in_its_name(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    point = "arn:aws:s3:us-west-2:123456789012:accesspoint/my-point"
    with s3(monkeypatch, {}) as asked:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        with opened(portal) as presigner:
            portal.call(presigner.refresh, [point])
            assert region_in(presigner.url_batch(point, ["k"])[0]) == "us-west-2"
            for unsignable in ("mine--use1-az4--x-s3", "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap"):
                with pytest.raises(SigningError, match="not supported"):
                    portal.call(presigner.refresh, [unsignable])
        assert not asked


@pytest.mark.parametrize("region", ["eu west", "-x", "x" * 64, 5, "auto"])
def test_a_region_that_is_not_valid(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch, region: object) -> None:
    ref = ObjectRef("bucket", "k", extra={"region": region})
    with s3(monkeypatch, {}), opened(portal) as presigner:
        for attempt in (lambda: presigner.sign_batch([ref]), lambda: presigner.post_batch([ref])):
            with pytest.raises(ParameterError, match="s3://bucket/k: "):
                attempt()
        with pytest.raises(ParameterError, match="s3://bucket/k: "):
            portal.call(presigner.prepare, [ref])
        with pytest.raises(ParameterError, match="list of buckets"):
            portal.call(presigner.refresh, "bucket")
