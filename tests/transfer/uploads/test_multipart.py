"""What is sent to complete an upload, and what is made of the answer: pure functions, with boto's etag as oracle."""

import asyncio
import hashlib
import os
import re
from collections import deque
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import MismatchError, RefusedError, ServerError, TransferError, TruncatedError
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.model import Link, ObjectRef, Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.jobs import NOTHING, Job, RenewableLink
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.uploads.requests import (
    Completed,
    UploadAborter,
    check_completed,
    complete_upload,
    completion,
    composite_etag,
    create_upload,
    etag_of,
    etag_under,
    read_parts_etag,
)
from tests.servers.proxy import Fault, FaultProxy

BODIES = [b"one", b"two", b""]
ETAGS = {number: hashlib.md5(body).hexdigest() for number, body in enumerate(BODIES, 1)}
WHOLE = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in BODIES)).hexdigest() + "-3"


@given(
    st.dictionaries(st.integers(1, 10_000), st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)), max_size=9)
)
def test_a_completion_names_all_parts_in_their_order(etags: dict[int, str]) -> None:
    root = ElementTree.fromstring(completion(etags, {}))
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    found = [(int(part.findtext(f"{space}PartNumber", "")), part.findtext(f"{space}ETag")) for part in root]
    assert found == [(number, f'"{etags[number]}"') for number in sorted(etags)]


@pytest.mark.parametrize(
    ("said", "etag"),
    [
        (b"<R><ETag>&quot;abc-2&quot;</ETag></R>", "abc-2"),
        (b"<R><ETag>&#34;abc-2&#34;</ETag></R>", "abc-2"),
        (b"  \n\n<?xml?><R><ETag>abc-2</ETag></R>", "abc-2"),
        (b'<R><ETag>"abc-2"</ETag></R>', "abc-2"),
        (b"<R><ETag></ETag></R>", ""),
        (b"<R><ETag/></R>", ""),
    ],
)
def test_etags_as_servers_write_them(said: bytes, etag: str) -> None:
    assert etag_of(said) == etag


@pytest.mark.parametrize("said", [b"", b"   ", b"<CompleteMultipartUploadResult><ETag>&quot;abc"])
def test_an_answer_that_broke_off_is_none(said: bytes) -> None:
    with pytest.raises(TruncatedError):
        etag_of(said)


def test_the_etag_of_parts() -> None:
    assert composite_etag(ETAGS) == composite_etag(dict(reversed(ETAGS.items()))) == WHOLE
    assert composite_etag({**ETAGS, 2: "no md5"}) is None


@pytest.mark.parametrize(
    ("etag", "etag_kind", "verified_by"),
    [
        (WHOLE, {}, "md5-parts"),
        (WHOLE.upper(), {}, "md5-parts"),
        ("", {}, None),
        (ETAGS[1], {}, None),
        ("opaque", {}, None),
        (f"{ETAGS[1]}-3", {"x-amz-server-side-encryption": "aws:kms"}, None),
    ],
)
def test_what_verifies_the_object(etag: str, etag_kind: dict[str, str], verified_by: str | None) -> None:
    assert check_completed(Completed(etag, etag_kind), ETAGS) == verified_by


@pytest.mark.parametrize("etag", [f"{ETAGS[1]}-3", WHOLE.replace("-3", "-2")])
def test_another_object_than_its_parts_make(etag: str) -> None:
    with pytest.raises(MismatchError, match=re.escape(f"the object's etag is {etag}, its parts make {WHOLE}")):
        check_completed(Completed(etag, {}), ETAGS)


async def completed(body: bytes) -> Completed:
    with FaultProxy() as origin:
        origin.always = Fault(200, body=body)
        async with HttpClient(1) as http:
            return await complete_upload(http, Link("POST", f"{origin.url}/a", {}), ETAGS)


def test_an_error_in_an_answer_of_200_completes_nothing() -> None:
    """S3 says 200 before it is done; what it says after that may hold an etag as well."""
    said = b"  <Error><Code>InternalError</Code><ETag>&quot;abc-3&quot;</ETag></Error>"
    with pytest.raises(ServerError) as caught:
        asyncio.run(completed(said))
    assert (caught.value.code, caught.value.status) == ("InternalError", 200)
    assert asyncio.run(completed(b"  <R><ETag>&quot;abc-3&quot;</ETag></R>")).etag == "abc-3"


def test_an_id_that_repeats_a_secret_is_no_id() -> None:
    async def create(upload_id: str) -> str:
        with FaultProxy() as origin:
            origin.always = Fault(200, body=f"<R><UploadId>{upload_id}</UploadId></R>".encode())
            async with HttpClient(1) as http:
                return await create_upload(http, Link("POST", f"{origin.url}/a?X-Amz-Signature=secret", {}))

    assert asyncio.run(create("abc.-_")) == "abc.-_"
    for upload_id in ("secret", "X-Amz-Signature=other"):
        with pytest.raises(ServerError, match="repeats a secret"):
            asyncio.run(create(upload_id))


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (200, b"<R></R>", ServerError, "NoUploadId"),
        (403, b"<Error><Code>AccessDenied</Code></Error>", RefusedError, "AccessDenied"),
        (500, b"<UploadId>id</UploadId>", ServerError, "HTTP500"),
    ],
)
def test_an_answer_that_opens_no_upload(status: int, body: bytes, kind: type[Exception], code: str) -> None:
    async def create(origin: FaultProxy) -> str:
        async with HttpClient(1) as http:
            return await create_upload(http, Link("POST", f"{origin.url}/a", {}))

    with FaultProxy() as origin:
        origin.always = Fault(status, body=body)
        with pytest.raises(kind) as caught:
            asyncio.run(create(origin))
    assert getattr(caught.value, "code", None) == code


def ended(*faults: Fault, attempts: int = 2) -> tuple[Outcome, int]:
    """The outcome of ending one upload, and how many requests there were."""

    async def end(origin: FaultProxy) -> Outcome:
        link = Link("DELETE", f"{origin.url}/a?uploadId=id", {}, object=ObjectRef("b", "a"))
        async with HttpClient(1) as http:
            context = TransferContext(http, lambda _: None, RequestLimiter(ConcurrencyController(fixed=1)), attempts)
            return await UploadAborter(context)(Job(NOTHING, RenewableLink(link)), LinkRenewer(deque(), Clock()))

    with FaultProxy() as origin:
        origin.faults.extend(faults)
        outcome = asyncio.run(end(origin))
        assert [seen.method for seen in origin.seen] == ["DELETE"] * len(faults)
        return outcome, origin.count


@pytest.mark.parametrize("status", [200, 204])
def test_an_upload_is_ended(status: int) -> None:
    assert ended(Fault(status))[0].status == "done"
    outcome, count = ended(Fault(503), Fault(status))
    assert (outcome.status, outcome.attempts, count) == ("done", 2, 2)


def test_an_upload_that_is_gone_is_skipped_and_other_refusals_are_errors() -> None:
    outcome, _ = ended(Fault(404, body=b"<Error><Code>NoSuchUpload</Code></Error>"))
    assert (outcome.status, outcome.message) == ("skipped", "it was ended, or completed before")
    for status, code in ((404, "NoSuchBucket"), (403, "AccessDenied")):
        with pytest.raises(RefusedError) as caught:
            ended(Fault(status, body=f"<Error><Code>{code}</Code></Error>".encode()))
        assert caught.value.code == code


def test_the_etag_that_is_under_a_key() -> None:
    async def get_link(origin: FaultProxy, name: str) -> str | None:
        async with HttpClient(1) as http:
            return await etag_under(http, Link("GET", f"{origin.url}/{name}", {}))

    with FaultProxy() as origin:
        origin.objects["/a"] = b"xyz"
        for gives_ranges in (True, False):
            origin.gives_ranges = gives_ranges
            assert asyncio.run(get_link(origin, "a")) == hashlib.md5(b"xyz").hexdigest()
        assert origin.seen[0].header("range") == "bytes=0-0"
        assert asyncio.run(get_link(origin, "none")) is None
        origin.always = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
        with pytest.raises(RefusedError):
            asyncio.run(get_link(origin, "a"))


@pytest.mark.parametrize("size", [1, 2_000_000, 2_500_000])
def test_the_etag_of_an_object_in_parts_by_all_of_its_bytes(size: int) -> None:
    body, part_size = os.urandom(size), 1_000_000

    async def read(origin: FaultProxy) -> str:
        async with HttpClient(1) as http:
            return await read_parts_etag(http, Link("GET", f"{origin.url}/a", {}), part_size)

    digests = [hashlib.md5(body[at : at + part_size]).digest() for at in range(0, size, part_size)]
    with FaultProxy() as origin:
        origin.objects["/a"] = body
        assert asyncio.run(read(origin)) == f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"
        origin.always = Fault(206, body=body)
        with pytest.raises(TransferError):
            asyncio.run(read(origin))
