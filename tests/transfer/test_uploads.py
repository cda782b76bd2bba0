"""What is sent to complete an upload, and what is made of the answer: pure functions, with boto's etag as oracle."""

import asyncio
import hashlib
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import MismatchError, ServerError, TruncatedError
from bulkpresign.model import Link
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.uploads import (
    Completed,
    check_completed,
    complete_upload,
    completion,
    composite_etag,
    create_upload,
    etag_of,
)
from tests.servers.proxy import Fault, FaultProxy

BODIES = [b"one", b"two", b""]
ETAGS = {number: hashlib.md5(body).hexdigest() for number, body in enumerate(BODIES, 1)}
WHOLE = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in BODIES)).hexdigest() + "-3"


@given(
    st.dictionaries(st.integers(1, 10_000), st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)), max_size=9)
)
def test_a_completion_names_all_parts_in_their_order(etags: dict[int, str]) -> None:
    root = ElementTree.fromstring(completion(etags))
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
    ("etag", "encryption", "verified_by"),
    [
        (WHOLE, {}, "md5-parts"),
        (WHOLE.upper(), {}, "md5-parts"),
        ("", {}, None),
        (ETAGS[1], {}, None),
        ("opaque", {}, None),
        (f"{ETAGS[1]}-3", {"x-amz-server-side-encryption": "aws:kms"}, None),
    ],
)
def test_what_verifies_the_object(etag: str, encryption: dict[str, str], verified_by: str | None) -> None:
    assert check_completed(Completed(etag, encryption), ETAGS) == verified_by


@pytest.mark.parametrize("etag", [f"{ETAGS[1]}-3", WHOLE.replace("-3", "-2")])
def test_another_object_than_its_parts_make(etag: str) -> None:
    with pytest.raises(MismatchError, match=re.escape(f"the object's etag is {etag}, its parts make {WHOLE}")):
        check_completed(Completed(etag, {}), ETAGS)


async def completed(body: bytes) -> Completed:
    with FaultProxy() as origin:
        origin.always = Fault(200, body=body)
        async with Http(1) as http:
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
            async with Http(1) as http:
                return await create_upload(http, Link("POST", f"{origin.url}/a?X-Amz-Signature=secret", {}))

    assert asyncio.run(create("abc.-_")) == "abc.-_"
    for upload_id in ("secret", "X-Amz-Signature=other"):
        with pytest.raises(ServerError, match="repeats a secret"):
            asyncio.run(create(upload_id))
