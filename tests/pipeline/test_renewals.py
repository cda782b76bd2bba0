"""Fresh links from each source, in this process: what is asked, what is taken, and what is refused of an answer."""

import asyncio
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from bulkpresign.errors import CredentialsError, LinkExpiredError, ParameterError
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.sources import renewals
from bulkpresign.pipeline.sources.renewals import (
    ChecksumMode,
    by_command,
    by_credentials,
    by_signing,
    by_url,
    renewal,
)
from bulkpresign.signing.presigner import Presigner
from tests.conftest import AwsEnv, Boto
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import CREDENTIALS

PAST = datetime(2020, 1, 1, tzinfo=UTC)
LATER = "2099-01-01T00:00:00Z"


def expires_by(key: str = "k", method: str = "GET", **more: Any) -> Link:
    ref = ObjectRef("bucket", key, **more)
    return Link(method, f"http://h/{key}?X-Amz-Signature=old", {}, PAST, ref)


def row(key: str = "k", **more: Any) -> dict[str, Any]:
    return {
        "bucket": "bucket",
        "key": key,
        "method": "GET",
        "url": f"http://h/{key}?fresh",
        "expires_at": LATER,
        **more,
    }


def printing(*rows: object) -> str:
    """A command that prints these rows, whatever it is asked."""
    text = "".join(json.dumps(one) + "\n" for one in rows)
    return f"cat > /dev/null; printf %s {shlex.quote(text)}"


def python(folder: Path, code: str) -> str:
    (folder / "renew.py").write_text(code)
    return f"{sys.executable} {folder}/renew.py"


def asked(command: str, links: Sequence[Link]) -> Sequence[Link | None]:
    async def ask() -> Sequence[Link | None]:
        with anyio.fail_after(20):
            return await by_command(command)(links)

    return asyncio.run(ask())


def signed(links: Sequence[Link], env: pytest.MonkeyPatch, mode: ChecksumMode | None = None) -> Sequence[Link | None]:
    for name, value in CREDENTIALS.items():
        env.setenv(name, value)

    async def ask() -> Sequence[Link | None]:
        async with Presigner(expires_in=900) as presigner:
            return await by_signing(presigner, mode)(links)

    return asyncio.run(ask())


def test_signing_keeps_headers_overrides_and_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = ObjectRef("bucket", "a b", version_id="v1", size=3, content_type="text/x", path="p", extra={"note": "n"})
    headers = {"x-amz-request-payer": "requester", "Host": "old.example"}
    url = "https://old/a?response-content-disposition=attachment%3B+x&response-expires=0&X-Amz-Signature=old"
    (fresh_link,) = signed([Link("GET", url, headers, PAST, ref)], monkeypatch)
    assert fresh_link is not None
    assert (fresh_link.method, fresh_link.object) == ("GET", ref)
    assert fresh_link.headers == {"x-amz-request-payer": "requester"}
    query = parse_qs(urlsplit(fresh_link.url).query)
    assert query["response-content-disposition"] == ["attachment; x"]
    assert query["response-expires"] == ["0"]
    assert query["versionId"] == ["v1"]
    assert query["X-Amz-Expires"] == ["900"]
    assert query["X-Amz-SignedHeaders"] == ["host;x-amz-request-payer"]
    assert not fresh_link.expires_by(datetime.now(UTC))


def test_a_server_that_refuses_the_checksum_mode_gets_links_with_all_their_other_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mode = ChecksumMode()
    mode.refuse()
    headers = {"x-amz-checksum-mode": "ENABLED", "x-amz-request-payer": "requester"}
    old = Link("GET", "https://old/k?X-Amz-Signature=old", headers, PAST, ObjectRef("bucket", "k"))
    (fresh_link,) = signed([old], monkeypatch, mode)
    assert fresh_link is not None
    assert fresh_link.headers == {"x-amz-request-payer": "requester"}


def test_signing_a_part_again_keeps_upload_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = ObjectRef("bucket", "k", size=5, extra={"upload_id": "u +", "part_number": "3", "offset": "10"})
    part = Link("PUT", "https://h/k?partNumber=3&uploadId=u%20%2B&X-Amz-Signature=old", {}, PAST, ref)
    complete = Link("POST", "https://h/k?uploadId=u%20%2B&X-Amz-Signature=old", {}, PAST, ref)
    fresh_link = signed([part, complete], monkeypatch)
    queries = [parse_qs(urlsplit(link.url).query) for link in fresh_link if link is not None]
    assert [query["uploadId"] for query in queries] == [["u +"]] * 2
    assert [query.get("partNumber") for query in queries] == [["3"], None]
    assert [(link.method, link.object) for link in fresh_link if link is not None] == [("PUT", ref), ("POST", ref)]


def test_copies_of_one_object_are_told_apart_by_their_addresses() -> None:
    """With the names of their keys, and without."""
    named = [expires_by(key, "PUT", path=f"http://h/{key}") for key in ("one", "two")]
    addresses = ["http://h/three", "http://h/four"]
    nameless = [Link("PUT", f"{url}?old", {}, PAST, ObjectRef("", "", path=url)) for url in addresses]
    rows = [row(key, method="PUT", path=f"http://h/{key}") for key in ("two", "one")]
    rows += [{"url": f"{url}?fresh", "method": "PUT", "path": url} for url in reversed(addresses)]
    fresh_links = asked(printing(*rows), [*named, *nameless])
    assert [link and link.url for link in fresh_links] == [
        f"http://h/{name}?fresh" for name in ("one", "two", "three", "four")
    ]


def test_rows_of_uploads_are_told_apart_by_upload_and_part(tmp_path: Path) -> None:
    """The command is asked for one part of two, and gives both, of two uploads."""

    def part(number: object, upload_id: str = "u") -> Link:
        extra = {"upload_id": upload_id, "part_number": number, "offset": 0}
        return expires_by(method="PUT", size=5, extra=extra)

    code = """
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    for number in (1, 2):
        for upload in ("v", row["upload_id"]):
            url = f"http://h/k?{upload}.{number}"
            print(json.dumps({**row, "url": url, "upload_id": upload, "part_number": number, "expires_at": %r}))
"""
    fresh_link = asked(python(tmp_path, code % LATER), [part("2"), part(1), part(3)])
    assert [link and link.url for link in fresh_link] == ["http://h/k?u.2", "http://h/k?u.1", None]


def test_signing_a_put_again_keeps_its_signed_headers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the row calls its content type binds nobody who did not sign it."""
    bound = Link("PUT", "http://h/a", {"Content-Type": "a/b"}, PAST, ObjectRef("bucket", "a", content_type="x/y"))
    free = Link("PUT", "http://h/b", {}, PAST, ObjectRef("bucket", "b", content_type="x/y"))
    one, other = signed([bound, free], monkeypatch)
    assert one is not None
    assert other is not None
    assert (one.headers, other.headers) == ({"Content-Type": "a/b"}, {})
    assert "X-Amz-SignedHeaders=host&" in f"{other.url}&"


def test_signing_again_keeps_what_the_link_carries_and_not_what_its_row_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row's own columns were signed into the old link, or they were not."""
    extra = {"storage_class": "X", "acl": 5, "region": "eu-west-1", "filename": "row.txt", "note": "n"}
    ref = ObjectRef("bucket", "k", checksum="crc32:AAAAAA==", extra=extra)
    headers = {"x-amz-server-side-encryption-customer-key": "k", "x-amz-storage-class": "GLACIER"}
    url = "https://old/k?response-content-disposition=a.txt&x-amz-request-payer=requester&X-Amz-Signature=old"
    put, get = signed([Link("PUT", "https://old/k", headers, PAST, ref), Link("GET", url, {}, PAST, ref)], monkeypatch)
    assert put is not None and get is not None
    assert (put.headers, get.headers, put.object, get.object) == (headers, {}, ref, ref)
    query = parse_qs(urlsplit(get.url).query)
    assert query["response-content-disposition"] == ["a.txt"]
    assert query["x-amz-request-payer"] == ["requester"]
    for link in (put, get):
        assert "/eu-west-1/" in parse_qs(urlsplit(link.url).query)["X-Amz-Credential"][0]


def test_signing_again_asks_for_regions(
    monkeypatch: pytest.MonkeyPatch, ministack: S3Server, aws_env: AwsEnv, boto: Boto
) -> None:
    location = {"LocationConstraint": "eu-west-1"}
    boto(ministack).create_bucket(Bucket="renewing-europe", CreateBucketConfiguration=location)
    aws_env(ministack)
    links = [Link("GET", "http://h/k", {}, PAST, ObjectRef(bucket, "k")) for bucket in ("nowhere", "renewing-europe")]

    async def ask() -> Sequence[Link | None]:
        async with Presigner("auto") as presigner:
            return await by_signing(presigner)(links)

    nowhere, europe = asyncio.run(ask())
    assert nowhere is None
    assert europe is not None
    assert "/eu-west-1/" in parse_qs(urlsplit(europe.url).query)["X-Amz-Credential"][0]


@pytest.mark.parametrize(
    "ref",
    [
        ObjectRef("bucket", "k", extra={"region": "eu west"}),
        ObjectRef("", "", path="p"),
        ObjectRef("a", "k"),
        ObjectRef("no/bucket", "k"),
        ObjectRef("bucket", "x" * 2000),
    ],
)
def test_what_cannot_be_signed_is_none_and_the_others_are(ref: ObjectRef, monkeypatch: pytest.MonkeyPatch) -> None:
    none, fresh_link = signed([Link("GET", "http://h/x", {}, PAST, ref), expires_by()], monkeypatch)
    assert none is None
    assert fresh_link is not None


@pytest.mark.parametrize(
    ("endpoint_url", "url", "is_renewed"),
    [
        ("http://h:9000", "http://h:9000/bucket/k", True),
        ("http://h:9000", "http://bucket.H:9000/k", True),
        ("http://h:9000", "http://h:9001/bucket/k", False),
        ("http://h:9000", "https://bucket.s3.amazonaws.com/k", False),
        (None, "https://bucket.s3.eu-west-1.amazonaws.com/k", True),
        (None, "https://s3.dualstack.us-east-1.amazonaws.com/bucket/k", True),
        (None, "https://s3.amazonaws.com.example/bucket/k", False),
    ],
)
def test_credentials_renew_no_link_of_another_server(
    endpoint_url: str | None, url: str, is_renewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers can have a bucket of the same name: the fresh link would be that of another object."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)

    async def ask() -> Sequence[Link | None]:
        async with Presigner("us-east-1", endpoint_url) as presigner:
            return await by_credentials(presigner)([Link("PUT", url, {}, PAST, ObjectRef("bucket", "k"))])

    (fresh_link,) = asyncio.run(ask())
    assert (fresh_link is not None) == is_renewed


def test_a_put_of_a_version_cannot_be_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signed([expires_by(method="PUT", version_id="v")], monkeypatch) == [None]


def test_lapsed_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)

    async def ask() -> None:
        async with Presigner() as presigner:
            renew = by_signing(presigner)

            async def refuse(*_: object) -> None:
                raise CredentialsError("the session is over")

            monkeypatch.setattr(presigner, "refresh", refuse)
            await renew([expires_by()])

    with pytest.raises(LinkExpiredError, match="can't be signed again: the session is over") as caught:
        asyncio.run(ask())
    assert caught.value.code == "RenewalFailed"


def test_a_command_sees_rows_and_gives_rows(tmp_path: Path) -> None:
    """A row out is a row in with another url: what it is told of the object is all that we know of it."""
    code = """
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    open(sys.argv[0] + ".seen", "a").write(line)
    row.update(url=row["url"].replace("old", "new"), expires_at="2099-01-01T00:00:00Z", headers={"x-a": "1"})
    print(json.dumps(row))
"""
    links = [
        expires_by("a", size=1, etag="e"),
        expires_by("b", path="other/b"),
        expires_by("c", method="PUT", version_id=None),
    ]
    fresh_link = asked(python(tmp_path, code), links)
    assert [link and link.object for link in fresh_link] == [link.object for link in links]
    assert [link and link.url for link in fresh_link] == [link.url.replace("old", "new") for link in links]
    assert [link and link.headers for link in fresh_link] == [{"x-a": "1"}] * 3
    assert [link and link.method for link in fresh_link] == ["GET", "GET", "PUT"]
    seen = [json.loads(line) for line in (tmp_path / "renew.py.seen").read_text().splitlines()]
    assert [one["path"] for one in seen] == ["a", "other/b", "c"]
    assert seen[0] == {
        **dict.fromkeys(("version_id", "checksum", "content_type")),
        "bucket": "bucket",
        "key": "a",
        "method": "GET",
        "url": links[0].url,
        "headers": {},
        "expires_at": "2020-01-01T00:00:00Z",
        "size": 1,
        "etag": "e",
        "path": "a",
    }


@pytest.mark.parametrize(
    "response",
    [
        row("other"),
        row(bucket="elsewhere"),
        row(version_id="2"),
        row(path="elsewhere"),
        row(method="PUT"),
        row(expires_at="2020-01-01T00:00:00Z"),
        row(expires_at=(datetime.now(UTC) + timedelta(seconds=5)).isoformat()),
        row(url="http://h/k?X-Amz-Date=20200101T000000Z&X-Amz-Expires=60", expires_at=None),
    ],
    ids=["key", "bucket", "version", "path", "method", "expired", "about to expire", "expired by its url"],
)
def test_an_answer_that_fits_no_link_is_passed_over(response: dict[str, Any]) -> None:
    good = row("good")
    none, fresh_link = asked(printing(response, good), [expires_by(), expires_by("good")])
    assert none is None
    assert fresh_link is not None
    assert fresh_link.url == good["url"]


def test_an_answer_of_nothing_is_none() -> None:
    assert asked("cat > /dev/null", [expires_by(), expires_by("b")]) == [None, None]


def test_order_and_more_than_asked_do_not_matter() -> None:
    responses = [row("c"), row("unasked"), row("a"), row("b")]
    fresh_link = asked(printing(*responses), [expires_by("a"), expires_by("b"), expires_by("c")])
    assert [link and link.object.key for link in fresh_link] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exit 3", "failed with exit code 3"),
        ("cat > /dev/null; echo '{}' ; exit 1", "failed with exit code 1"),
        ("no-such-program-at-all 2> /dev/null", "failed with exit code 127"),
        ("kill -9 $$", "failed with exit code -9"),
        ("echo garbage", "no list of links: JSON is malformed"),
        ("printf '\\377\\n'", "no list of links"),
        ("echo '[]'", "no list of links: Expected `object`"),
        ("echo '{}'", "no list of links: the renewal command:1: column url: the column is missing"),
        ('echo \'{"url": "ftp://x/secret"}\'', "no list of links: the renewal command:1: column url"),
        ("x" * 200_000, "can't be started: Argument list too long"),
    ],
)
def test_a_command_that_does_not_do_its_work(command: str, message: str) -> None:
    with pytest.raises(LinkExpiredError) as caught:
        asked(command, [expires_by()])
    assert message in str(caught.value)
    assert "renewal command" in str(caught.value)
    assert caught.value.code == "RenewalFailed"


def test_a_command_that_reads_nothing_or_a_little_of_much() -> None:
    """A megabyte is more than a pipe takes."""
    many = [expires_by(f"{n}" * 50) for n in range(5_000)]
    assert asked("true", many) == [None] * 5_000
    assert asked("head -c 10 > /dev/null", many) == [None] * 5_000


def test_a_command_that_answers_as_it_reads() -> None:
    """Both pipes full at once would be a deadlock."""
    many = [expires_by(f"k{n}") for n in range(10_000)]
    code = "s/2020-01-01/2099-01-01/"
    fresh_link = asked(f"sed {code}", many)
    assert [link and link.object.key for link in fresh_link] == [link.object.key for link in many]


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _gone(file: Path) -> bool:
    pids = [int(line) for line in file.read_text().split()]
    deadline = time.monotonic() + 20
    while any(map(_is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(pids) == 2 and not any(map(_is_alive, pids))


def hanging(pids: Path) -> str:
    return f"sleep 60 & echo $! > {pids}; echo $$ >> {pids}; wait"


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewals, "RENEW_TIMEOUT", 1.5)
    began = time.monotonic()
    with pytest.raises(LinkExpiredError, match=r"did not end in 1\.5 s"):
        asked(hanging(tmp_path / "pids"), [expires_by()])
    assert 1.5 <= time.monotonic() - began < 30
    assert _gone(tmp_path / "pids")


def test_a_command_is_killed_with_its_children_where_the_run_ends(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    async def cancelled() -> None:
        async with anyio.create_task_group() as group:

            async def stop() -> None:
                while not pids.exists() or pids.read_text().count("\n") < 2:
                    await anyio.sleep(0.01)
                group.cancel_scope.cancel()

            group.start_soon(stop)
            await by_command(hanging(pids))([expires_by()])
            pytest.fail("it came to its end")

    asyncio.run(cancelled())
    assert _gone(pids)


def test_a_command_is_killed_with_its_children_where_the_run_ends_as_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has children before the loop has come to know of it."""
    pids = tmp_path / "pids"

    async def cancelled() -> None:
        with anyio.CancelScope() as scope:

            class Started(subprocess.Popen[bytes]):
                def __init__(self, *args: Any, **options: Any) -> None:
                    super().__init__(*args, **options)
                    while not pids.exists() or pids.read_text().count("\n") < 2:
                        time.sleep(0.01)
                    scope.cancel()

            monkeypatch.setattr(subprocess, "Popen", Started)
            await by_command(hanging(pids))([expires_by()])
        assert scope.cancelled_caught

    asyncio.run(cancelled())
    assert _gone(pids)


def test_a_command_that_prints_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewals, "MOST_OUTPUT", 100_000)
    with pytest.raises(LinkExpiredError, match="prints without end"):
        asked("yes", [expires_by()])
    monkeypatch.setattr(renewals, "MOST_OUTPUT", 1_000)
    with pytest.raises(LinkExpiredError, match="prints without end"):
        asked("head -c 2000 /dev/zero", [expires_by(f"{n}" * 50) for n in range(5_000)])


def test_a_command_that_goes_on_printing_for_a_while_after_it_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = renewals._kill_group

    def kill_late(process: anyio.abc.Process) -> None:  # as a busy machine does
        asyncio.get_running_loop().call_later(0.2, kill, process)

    monkeypatch.setattr(renewals, "MOST_OUTPUT", 100_000)
    monkeypatch.setattr(renewals, "_kill_group", kill_late)
    with pytest.raises(LinkExpiredError, match="prints without end"):
        asked("yes", [expires_by()])


Answering = Callable[[FaultProxy], None]


def posted(links: Sequence[Link], prepare: Answering, path: str = "/renew") -> tuple[Sequence[Link | None], FaultProxy]:
    async def ask(proxy: FaultProxy) -> Sequence[Link | None]:
        async with HttpClient(2) as http:
            with anyio.fail_after(20):
                return await by_url(f"{proxy.url}{path}", http)(links)

    with FaultProxy() as proxy:
        prepare(proxy)
        return asyncio.run(ask(proxy)), proxy


def answering(*rows: object, status: int = 200, **more: Any) -> Answering:
    body = "".join(json.dumps(one) + "\n" for one in rows).encode()

    def prepare(proxy: FaultProxy) -> None:
        proxy.always = Fault(status, body=body, **more)

    return prepare


def test_a_url_is_posted_rows_and_gives_rows() -> None:
    fresh_link, proxy = posted([expires_by("a"), expires_by("b")], answering(row("b"), row("a")))
    assert [link and link.url for link in fresh_link] == ["http://h/a?fresh", "http://h/b?fresh"]
    (seen,) = proxy.seen
    assert seen.line == b"POST /renew HTTP/1.1"
    assert seen.header("content-type") == "application/jsonl"
    assert [json.loads(line)["key"] for line in seen.body.splitlines()] == ["a", "b"]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (answering(status=500), "the renewal url answered 500"),
        (answering(status=302, headers={"Location": "http://127.0.0.1:1/"}), "the renewal url answered 302"),
        (answering("garbage"), "the renewal url answered with what is no list of links"),
        (answering(row(), reset_after=0), "the renewal url can't be asked: "),
        (answering(row(), cut_after=10), "the renewal url can't be asked: the body ended early"),
        (answering(row(), delay=5), "the renewal url did not answer in 0.5 s"),
        (answering(*[row()] * 500), "the renewal url answers without end"),
    ],
)
def test_a_url_that_does_not_do_its_work(prepare: Answering, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewals, "RENEW_TIMEOUT", 0.5)
    monkeypatch.setattr(renewals, "MOST_OUTPUT", 20_000)
    with pytest.raises(LinkExpiredError) as caught:
        posted([expires_by()], prepare)
    assert message in str(caught.value)
    assert caught.value.code == "RenewalFailed"


def test_a_url_that_is_none() -> None:
    async def ask() -> None:
        async with HttpClient(1) as http:
            await by_url("http://127.0.0.1:99999/", http)([expires_by()])

    with pytest.raises(LinkExpiredError, match="the renewal url can't be asked"):
        asyncio.run(ask())


def test_a_url_that_answers_for_another_object() -> None:
    fresh_link, _ = posted([expires_by("a")], answering(row("b"), row("a", method="PUT")))
    assert fresh_link == [None]


def test_one_source_at_most() -> None:
    async def ask() -> None:
        async with HttpClient(1) as http:
            presigner = Presigner("us-east-1")
            assert renewal(None, None, None, http) is None
            assert renewal(None, "true", None, http) is not None
            two: list[tuple[Presigner | None, str | None, str | None]] = [
                (presigner, "true", None),
                (presigner, None, "http://h"),
                (None, "true", "http://h"),
            ]
            for signing, command, url in two:
                with pytest.raises(ParameterError, match="fresh links come from one place"):
                    renewal(signing, command, url, http)

    asyncio.run(ask())
