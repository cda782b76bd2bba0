"""Listings through links of our own: on real servers, on one with faults, and on one whose pages a test makes."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

import bulkpresign as bp
from bulkpresign.aws.client import Aws
from bulkpresign.aws.credentials import Credentials
from bulkpresign.errors import CredentialsError, ListingError
from bulkpresign.events import Event, ObjectRetried
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.sources import listings as listings_module
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source import key_space
from bulkpresign.source import lister as lister_module
from bulkpresign.source.page import Page
from bulkpresign.transfer.engine import retries
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen, expired
from tests.servers.server import S3Server

AWKWARD = ["a b+c.txt", "d-e", "d/nl\n\tctrl\x01.txt", "d/é&<x>\"'.txt", "per%20cent", "z/한글 😀", "z/~*?#[x]"]


def listed(
    bucket: str, prefix: str = "", *, endpoint_url: str | None = None, region: str | None = None, **settings: Any
) -> list[ObjectRef]:
    """All objects that a listing gives."""

    async def run() -> list[ObjectRef]:
        async with Presigner(region, endpoint_url) as presigner, BucketLister(presigner, **settings) as lister:
            return [ref async for refs in lister.objects(bucket, prefix) for ref in refs]

    return asyncio.run(run())


def ignore(_: Event) -> None:
    """Hears events."""


def put(client: Any, bucket: str, keys: Sequence[str], body: bytes = b"12345") -> None:
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=body)


# -- real servers


@pytest.fixture(params=["seaweedfs", "ceph", "rclone", "ministack"])
def any_server(request: pytest.FixtureRequest, aws_env: AwsEnv) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    aws_env(found)
    return found


def test_every_key_comes_as_it_is(any_server: S3Server, make_bucket: MakeBucket, boto: Boto) -> None:
    client, bucket = boto(any_server), make_bucket(any_server)
    put(client, bucket, AWKWARD)
    found = listed(bucket, emit=ignore)
    assert sorted(ref.key for ref in found) == sorted(AWKWARD)
    items = {item["Key"]: item for item in client.list_objects_v2(Bucket=bucket)["Contents"]}
    for ref in found:
        item = items[ref.key]
        extra = {"last_modified": f"{item['LastModified']:%Y-%m-%dT%H:%M:%SZ}"}
        assert ref == ObjectRef(bucket, ref.key, size=5, etag=item["ETag"].strip('"'), path=ref.key, extra=extra)
    assert sorted(ref.path or "" for ref in listed(bucket, "d/", emit=ignore)) == ["nl\n\tctrl\x01.txt", "é&<x>\"'.txt"]
    assert listed(bucket, "nothing/", emit=ignore) == []


def test_pages_and_prefixes_on_a_real_server(
    any_server: S3Server, make_bucket: MakeBucket, boto: Boto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of three, so that every prefix is split: keys around the delimiter, and one that ends a page with \\x01."""
    monkeypatch.setattr(lister_module, "_LEAST_PER_REQUEST", 0)
    monkeypatch.setattr(listings_module, "_OBJECTS", {"list-type": "2", "encoding-type": "url", "max-keys": "3"})
    client, bucket = boto(any_server), make_bucket(any_server)
    keys = [f"{folder}{name}" for folder in ("", "a/", "a-b/", "a/b c/", "a/+/") for name in ("0", "1\x01", "2", "3+ü")]
    put(client, bucket, [*keys, "a!", "b/0/1"])
    found = [ref.key for ref in listed(bucket, emit=ignore)]
    assert sorted(found) == sorted([*keys, "a!", "b/0/1"])
    assert sorted(ref.key for ref in listed(bucket, "a/", emit=ignore)) == sorted(k for k in keys if k.startswith("a/"))


@pytest.mark.parametrize("form", ["{:02}{:02}", "x-{:02}-{:02}.txt", "p/{:02}_{:02}"])
def test_a_flat_prefix_on_a_real_server(
    form: str, any_server: S3Server, make_bucket: MakeBucket, boto: Boto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of three, split at points from the second on. Some keys sort otherwise where a server walks folders."""
    monkeypatch.setattr(lister_module, "_LEAST_PER_REQUEST", 0)
    monkeypatch.setattr(lister_module, "_LONG", 2)
    monkeypatch.setattr(lister_module, "_LEAST_OF_POINTS", 0)
    monkeypatch.setattr(key_space, "_LEAST_DISTANCE", 1)
    monkeypatch.setattr(listings_module, "_OBJECTS", {"list-type": "2", "encoding-type": "url", "max-keys": "3"})
    client, bucket = boto(any_server), make_bucket(any_server)
    keys = [form.format(*divmod(number, 20)) for number in range(0, 120, 2)]
    beside = [f"{keys[at]}{end}" for at in (7, 31) for end in ("/x", "-", "0")]
    if any_server.name == "rclone":  # a file can't be a folder too
        beside = [key for key in beside if "/x" not in key]
    put(client, bucket, [*keys, *beside])
    found = [ref.key for ref in listed(bucket, emit=ignore)]
    assert sorted(found) == sorted([*keys, *beside])


@pytest.mark.parametrize("server_name", ["seaweedfs", "ceph", "ministack"])
def test_all_versions(
    request: pytest.FixtureRequest, aws_env: AwsEnv, make_bucket: MakeBucket, boto: Boto, server_name: str
) -> None:
    server: S3Server = request.getfixturevalue(server_name)
    aws_env(server)
    client, bucket = boto(server), make_bucket(server)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = {
        key: [client.put_object(Bucket=bucket, Key=key, Body=b"x" * n)["VersionId"] for n in (1, 2, 3)]
        for key in ("p/a b.tar.gz", "p/c")
    }
    client.delete_object(Bucket=bucket, Key="p/c")
    found = listed(bucket, "p/", emit=ignore, all_versions=True)
    assert [(ref.key, ref.version_id, ref.size) for ref in found] == [
        (key, version, size) for key, versions in ids.items() for size, version in reversed([*enumerate(versions, 1)])
    ]
    assert found[0].path == f"a b.tar.{ids['p/a b.tar.gz'][2]}.gz"
    assert found[3].path == f"c.{ids['p/c'][2]}"
    assert [ref.key for ref in listed(bucket, "p/", emit=ignore)] == ["p/a b.tar.gz"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("server_name", "form"), [("seaweedfs", "{:02}{:02}"), ("ceph", "f{:02}/{:02}"), ("ministack", "d/{:02}-{:02}")]
)
def test_many_versions_are_listed_at_the_same_time(
    request: pytest.FixtureRequest,
    aws_env: AwsEnv,
    make_bucket: MakeBucket,
    boto: Boto,
    monkeypatch: pytest.MonkeyPatch,
    server_name: str,
    form: str,
) -> None:
    """In pages of 20 entries: what boto3 lists in its order, whatever a page or a section has of a key."""
    server: S3Server = request.getfixturevalue(server_name)
    aws_env(server)
    client, bucket = boto(server), make_bucket(server)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    keys = [form.format(*divmod(number, 20)) for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(put_versions, client, bucket), keys, range(400)))
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
    expected = [(item["Key"], item["VersionId"], item["Size"]) for page in pages for item in page.get("Versions", ())]
    for name, value in (("_LEAST_PER_REQUEST", 0), ("_LONG", 1), ("_LEAST_OF_POINTS", 0), ("_PAGE", 20)):
        monkeypatch.setattr(lister_module, name, value)
    monkeypatch.setattr(key_space, "_LEAST_DISTANCE", 1)
    monkeypatch.setattr(listings_module, "_VERSIONS", {"versions": "", "encoding-type": "url", "max-keys": "20"})
    starts: list[Mapping[str, str]] = []
    monkeypatch.setattr(BucketLister, "_page", noting(starts, BucketLister._page))
    found = listed(bucket, emit=ignore, all_versions=True)
    assert [(ref.key, ref.version_id, ref.size) for ref in found] == expected
    assert len({key for key, *_ in expected}) == 400
    begun = [query for query in starts if "key-marker" in query and not {"version-id-marker", "max-keys"} & {*query}]
    assert begun  # sections besides the first one


def put_versions(client: Any, bucket: str, key: str, number: int) -> None:
    """Up to four versions of a key, and a delete marker above those of each third one."""
    for size in range(1 + number % 4):
        client.put_object(Bucket=bucket, Key=key, Body=b"x" * size or b"y")
    if number % 3 == 0:
        client.delete_object(Bucket=bucket, Key=key)


def noting(queries: list[Mapping[str, str]], fetch: Callable[..., Awaitable[Page]]) -> Callable[..., Awaitable[Page]]:
    """The same method, which notes the query of each request."""

    async def noted(self: BucketLister, bucket: str, query: Mapping[str, str]) -> Page:
        queries.append(query)
        return await fetch(self, bucket, query)

    return noted


@pytest.mark.parametrize("all_versions", [False, True])
def test_one_key(seaweedfs: S3Server, aws_env: AwsEnv, make_bucket: MakeBucket, boto: Boto, all_versions: bool) -> None:
    aws_env(seaweedfs)
    client, bucket = boto(seaweedfs), make_bucket(seaweedfs)
    put(client, bucket, ["k.txt", "k.txt2", "p/q"])

    async def find(key: str) -> tuple[list[ObjectRef], bool]:
        async with Presigner() as presigner, BucketLister(presigner, ignore, all_versions=all_versions) as lister:
            return await lister.find(bucket, key)

    (found,), is_prefix = asyncio.run(find("k.txt"))
    assert (found.key, found.size, is_prefix) == ("k.txt", 5, False)
    assert (found.version_id, found.file_path) == (("null", "k.null.txt") if all_versions else (None, "k.txt"))
    assert asyncio.run(find("p")) == ([], True)
    assert asyncio.run(find("none")) == ([], False)


def test_a_bucket_in_another_region(ministack: S3Server, aws_env: AwsEnv, boto: Boto) -> None:
    aws_env(ministack)
    bucket = "listed-in-europe"
    boto(ministack).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    link = asyncio.run(_put_link(bucket))
    assert requests.put(link.url, data=b"x", timeout=30).status_code == 200
    for region in ("us-east-1", "eu-west-1", "auto"):
        assert [ref.key for ref in listed(bucket, region=region, emit=ignore)] == ["a"], region


async def _put_link(bucket: str) -> Link:
    async with Presigner("eu-west-1") as presigner:
        return presigner.sign_batch([ObjectRef(bucket, "a")], "PUT")[0]


@pytest.mark.parametrize(
    ("bucket", "endpoint_url", "words"),
    [
        ("no-such-bucket-at-all", None, "404 NoSuchBucket"),
        ("bucket", "http://127.0.0.1:9", "no connection to 127.0.0.1:9"),
    ],
)
def test_listings_that_fail(
    seaweedfs: S3Server, aws_env: AwsEnv, bucket: str, endpoint_url: str | None, words: str
) -> None:
    aws_env(seaweedfs)
    with pytest.raises(ListingError, match=rf"^s3://{bucket}/in/ can't be listed: {words}"):
        listed(bucket, "in/", endpoint_url=endpoint_url, emit=ignore, attempts=1)


@pytest.mark.parametrize("url", ["http://{host}/none-here", "http://none-here.{host}"])
def test_a_bucket_in_the_endpoint_url_is_named(
    url: str, seaweedfs: S3Server, aws_env: AwsEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consoles of R2 and Spaces show such urls. The name of the bucket would begin all keys."""
    aws_env(seaweedfs)
    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *args, **kwargs: found("127.0.0.1", *args, **kwargs))
    where = url.format(host=seaweedfs.endpoint_url.removeprefix("http://").replace("127.0.0.1", "localhost"))
    with pytest.raises(ListingError, match=r"404 .* \(the endpoint url names the bucket: leave it out there\)$"):
        listed("none-here", "in/", endpoint_url=where, emit=ignore, attempts=1)


def test_a_listing_without_credentials() -> None:
    with pytest.raises(CredentialsError):
        listed("bucket", region="eu-west-1", emit=ignore)


# -- faults

PAGE = (
    '<?xml version="1.0"?><ListBucketResult><Contents><Key>a</Key><Size>5</Size></Contents>'
    "<IsTruncated>{}</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
)
LAST = Fault(200, body=PAGE.format("false").encode())
ERROR = "<Error><Code>{}</Code><Message>m</Message></Error>"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A server that answers with the faults of a test, and with one object after them."""
    with FaultProxy() as proxy:
        proxy.always = LAST
        for name, value in (("ACCESS_KEY_ID", "AK"), ("SECRET_ACCESS_KEY", "SK"), ("DEFAULT_REGION", "us-east-1")):
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setattr(retries, "BASE_DELAY", 0.001)
        yield proxy


@pytest.mark.parametrize(
    "fault",
    [
        Fault(503, body=ERROR.format("SlowDown").encode()),
        Fault(500, body=ERROR.format("InternalError").encode()),
        Fault(reset_after=0),
        Fault(200, body=LAST.body, cut_after=80),
        Fault(200, body=LAST.body[:80]),
        Fault(200, body=b""),
        expired(),
        Fault(400, body=ERROR.format("ExpiredToken").encode()),
    ],
)
def test_a_request_that_fails_is_repeated_where_it_was(proxy: FaultProxy, fault: Fault) -> None:
    proxy.faults += [Fault(200, body=PAGE.format("true").encode()), fault, fault]
    heard: list[Event] = []
    assert [ref.key for ref in listed("bucket", emit=heard.append)] == ["a", "a"]
    assert [(event.object.uri, event.attempt) for event in heard if isinstance(event, ObjectRetried)] == [
        ("s3://bucket/", 1),
        ("s3://bucket/", 2),
    ]
    assert ["continuation-token=t" in seen.target for seen in proxy.seen] == [False, True, True, True]


def test_a_link_that_expires_in_the_middle_is_signed_with_new_credentials(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing goes on at its page."""
    second = Credentials("SECOND", "SK")
    found = iter([Credentials("FIRST", "SK"), Credentials("FIRST", "SK"), Credentials("FIRST", "SK")])

    async def credentials(_: Aws) -> Credentials:
        return next(found, second)

    monkeypatch.setattr(Aws, "credentials", credentials)
    proxy.faults += [Fault(200, body=PAGE.format("true").encode()), expired()]
    assert [ref.key for ref in listed("bucket", emit=ignore)] == ["a", "a"]
    assert ["continuation-token=t" in seen.target for seen in proxy.seen] == [False, True, True]
    assert ["Credential=SECOND" in seen.target for seen in proxy.seen] == [False, False, True]


def test_attempts_end(proxy: FaultProxy) -> None:
    proxy.always = Fault(503, body=ERROR.format("SlowDown").encode())
    with pytest.raises(ListingError, match="s3://bucket/p/ can't be listed: 503 SlowDown: m"):
        listed("bucket", "p/", emit=ignore, attempts=3)
    assert proxy.count == 3


@pytest.mark.parametrize(("attempts", "least"), [(3, 6), (1, 1)])
def test_a_later_page_has_twice_the_attempts(
    attempts: int, least: int, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of days ends with its listing; before the first page, nothing is lost."""
    monkeypatch.setattr(retries, "BASE_DELAY", 0.01)
    busy = Fault(503, body=ERROR.format("SlowDown").encode())
    proxy.faults += [Fault(200, body=PAGE.format("true").encode()), *[busy] * (least - 1)]
    proxy.faults += [Fault(200, body=PAGE.format("false").encode())]
    assert [ref.key for ref in listed("bucket", emit=ignore, attempts=attempts)] == ["a", "a"]
    assert proxy.count == least + 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(403, body=ERROR.format("AccessDenied").encode()), "403 AccessDenied: m$"),
        (Fault(200, body=b"<html>sign in</html>"), "the response is not a listing: it begins with <html>$"),
        (Fault(200, body=b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'), "the response has a document type"),
        (Fault(200, body=b"<ListBucketResult>" + b"x" * (17 << 20)), "the response is over 16 MiB"),
        (Fault(200, body=b"<ListBucketResult><Contents/></ListBucketResult>"), "<Contents> without a key$"),
        (Fault(301, {"x-amz-bucket-region": "no region!"}, ERROR.format("PermanentRedirect").encode()), "301 "),
    ],
)
def test_a_response_that_is_no_listing_is_not_repeated(proxy: FaultProxy, fault: Fault, words: str) -> None:
    proxy.always = fault
    with pytest.raises(ListingError, match=f"s3://bucket/p/ can't be listed: .*{words}"):
        listed("bucket", "p/", emit=ignore)
    assert proxy.count == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(301, {"x-amz-bucket-region": "eu-west-1"}, ERROR.format("PermanentRedirect").encode()),
        Fault(400, body=b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"),
        Fault(400, body=b"<Error><Code>AuthorizationQueryParametersError</Code><Region>eu-west-1</Region></Error>"),
    ],
)
def test_the_region_that_a_response_names_is_used(proxy: FaultProxy, fault: Fault) -> None:
    proxy.faults += [fault, Fault(200, body=PAGE.format("true").encode())]
    assert len(listed("bucket", emit=ignore)) == 2
    assert ["%2Feu-west-1%2Fs3" in seen.target for seen in proxy.seen] == [False, True, True]
    proxy.always = fault  # a server that names the same region again is not asked for ever
    with pytest.raises(ListingError, match=r"301 PermanentRedirect|400 Authorization"):
        listed("bucket", emit=ignore)


# -- servers without ListObjectsV2


def first_version(client: Any, bucket: str, seen: Seen) -> tuple[bytes, bytes]:
    """The response of a server that knows ListObjects alone, in pages of three: it ignores any other parameter."""
    query = dict(parse_qsl(urlsplit(seen.target).query))
    names = {"prefix": "Prefix", "marker": "Marker", "delimiter": "Delimiter", "encoding-type": "EncodingType"}
    known = {names[name]: value for name, value in query.items() if name in names}
    url = client.generate_presigned_url("list_objects", {"Bucket": bucket, "MaxKeys": 3, **known})
    body = requests.get(url, timeout=30).content
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body


@pytest.mark.parametrize("server_name", ["seaweedfs", "ceph"])
@pytest.mark.parametrize("refuses", [False, True])
def test_a_server_that_knows_the_first_version_of_listings_alone(
    request: pytest.FixtureRequest,
    aws_env: AwsEnv,
    make_bucket: MakeBucket,
    boto: Boto,
    monkeypatch: pytest.MonkeyPatch,
    server_name: str,
    refuses: bool,
) -> None:
    """As Huawei OBS, IBM COS and others by the quirks that rclone has for them: each section, and each point."""
    server: S3Server = request.getfixturevalue(server_name)
    aws_env(server)
    client, bucket = boto(server), make_bucket(server)
    keys = [f"{folder}{number:02} ü+" for folder in ("", "a/", "a-b/", "a/b/") for number in range(9)]
    put(client, bucket, keys)
    for name, value in (("_LEAST_PER_REQUEST", 0), ("_LONG", 2), ("_LEAST_OF_POINTS", 0)):
        monkeypatch.setattr(lister_module, name, value)
    monkeypatch.setattr(key_space, "_LEAST_DISTANCE", 1)
    with FaultProxy(server.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        proxy.alter = lambda seen, _, __: first_version(client, bucket, seen)
        if refuses:
            refused = Fault(501, body=ERROR.format("NotImplemented").encode())
            proxy.schedule = lambda seen: refused if "list-type" in seen.target else None
        assert sorted(ref.key for ref in listed(bucket, emit=ignore)) == sorted(keys)
        assert sorted(ref.key for ref in listed(bucket, "a/", emit=ignore)) == sorted(k for k in keys if k[:2] == "a/")


def test_a_server_that_lists_nothing(proxy: FaultProxy) -> None:
    proxy.always = Fault(501, body=ERROR.format("NotImplemented").encode())
    with pytest.raises(ListingError, match="can't be listed: 501 NotImplemented: m"):
        listed("bucket", emit=ignore)


@pytest.mark.parametrize("all_versions", [False, True])
def test_a_page_is_asked_for_all_keys_that_it_can_have(proxy: FaultProxy, all_versions: bool) -> None:
    """Alibaba OSS gives 100 by default: docs "ListObjectsV2 (GetBucketV2)" there."""
    listed("bucket", emit=ignore, all_versions=all_versions)
    assert "max-keys=1000" in proxy.seen[0].target


@pytest.mark.parametrize("fault", [Fault(stall=True), Fault(hold_after=100)])
def test_a_run_that_is_cancelled_does_not_wait_for_a_listing(
    fault: Fault, seaweedfs: S3Server, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)

    async def run(endpoint_url: str) -> float:
        source = f"s3://{make_bucket(seaweedfs)}/"
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await bp.get(source, tmp_path / "to", endpoint_url=endpoint_url)
        return asyncio.get_running_loop().time() - began

    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        proxy.schedule = lambda seen: fault if "list-type" in seen.target else None
        assert asyncio.run(run(proxy.url)) < 10.0
