"""Heads that are read in one step are those that the parser reads, with the same result."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkpresign.http.plain_head import plain_head
from bulkpresign.http.protocol import ResponseParser, ResponseState
from tests.fuzz.answers import changed, well_formed

NGINX = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Thu, 26 Nov 2026 23:00:03 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 5\r\nLast-Modified: Thu, 26 Nov 2026 16:57:48 GMT\r\nConnection: keep-alive\r\n"
    b'ETag: "5d41402abc4b2a76b9719d911017c592"\r\nAccept-Ranges: bytes\r\n\r\n'
)
S3 = (
    b"HTTP/1.1 200 OK\r\nx-amz-id-2: a+b/c=\r\nx-amz-request-id: 4442587FB7D0A2F9\r\n"
    b'Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag: "fba9dede5f27731c9771645a39863328"\r\n'
    b"x-amz-server-side-encryption: AES256\r\nContent-Type: \r\nContent-Length: 5\r\nServer: AmazonS3\r\n\r\n"
)
STORED = (
    b"HTTP/1.1 204 No Content\r\nServer: nginx\r\nDate: Thu, 26 Nov 2026 23:00:03 GMT\r\nConnection: keep-alive\r\n\r\n"
)
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n%s\r\n"


def test_the_heads_of_usual_servers() -> None:
    head = plain_head(NGINX + b"hello")
    assert head is not None
    assert (head.status, head.length, head.size) == (200, 5, len(NGINX))
    assert head.headers["etag"] == '"5d41402abc4b2a76b9719d911017c592"'
    assert head.headers["last-modified"] == "Thu, 26 Nov 2026 16:57:48 GMT"
    assert len(head.headers) == 8
    assert plain_head(S3.replace(b"Content-Type: \r\n", b"")) is not None
    stored = plain_head(STORED)
    assert stored is not None
    assert (stored.status, stored.length, stored.size) == (204, 0, len(STORED))


@pytest.mark.parametrize(
    "data",
    [
        NGINX[:-1],
        NGINX.replace(b"HTTP/1.1 200", b"HTTP/1.0 200"),
        NGINX.replace(b"200 OK", b"206 OK"),
        NGINX.replace(b"200 OK", b"404 OK"),
        NGINX.replace(b"200 OK", b"204 OK"),
        STORED.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        NGINX.replace(b"keep-alive", b"close"),
        NGINX.replace(b"Content-Length: 5\r\n", b""),
        NGINX.replace(b": 5\r\n", b": +5\r\n"),
        NGINX.replace(b": 5\r\n", b": 5, 5\r\n"),
        NGINX.replace(b"\r\n", b"\n"),
        HELLO % b"Content-Length: 5\r\n",
        HELLO % b"content-length: 6\r\n",
        HELLO % b"Transfer-Encoding: chunked\r\n",
        HELLO % b"A: b\r\n folded\r\n",
        HELLO % b"A : b\r\n",
        HELLO % b"A: b \r\n",  # not all versions of the parser strip the space
        HELLO % b"A: b\x00\r\n",
        HELLO % b"".join(b"A%d: b\r\n" % number for number in range(100)),
        HELLO % (b"A: " + b"b" * 65_536 + b"\r\n"),
    ],
)
def test_other_heads_are_left_to_the_parser(data: bytes) -> None:
    assert plain_head(data) is None


_names = st.sampled_from([b"Date", b"ETag", b"x-amz-meta-a", b"CONNECTION", b"Content-Length", b"Transfer-Encoding"])
_values = st.binary(max_size=8) | st.sampled_from(
    [b"5", b"0", b" 5", b"5 ", b"\t5", b"keep-alive", b"Keep-Alive", b"x y"]
)


@st.composite
def usual(draw: st.DrawFn) -> bytes:
    """A head that is plain, or nearly."""
    lines = draw(st.lists(st.tuples(_names, st.sampled_from([b":", b": ", b":  "]), _values), max_size=5))
    at = draw(st.integers(0, len(lines)))
    status = draw(st.sampled_from([200, 201, 204, 206]))
    if status != 204 or draw(st.booleans()):
        lines.insert(at, (b"Content-Length", b": ", b"5"))
    head = b"".join(name + colon + value + b"\r\n" for name, colon, value in lines)
    return b"HTTP/1.1 %d OK\r\n%s\r\nhello" % (status, head)


@given(usual() | well_formed() | changed())
@example(NGINX + b"hello")
@example(S3 + b"hello")
@example(STORED)
@example(HELLO % b"Connection: Keep-Alive\r\n" + b"hello")
@example(HELLO % b"Connection: keep-alive, upgrade\r\n" + b"hello")
def test_a_plain_head_is_what_the_parser_reads(data: bytes) -> None:
    head = plain_head(data)
    if head is None:
        return
    parser = ResponseParser()
    parser.start()
    parser.feed(memoryview(data[: head.size + head.length]))
    assert parser.error is None
    assert (parser.status, parser.headers, parser.length or 0) == (head.status, head.headers, head.length)
    is_whole = len(data) >= head.size + head.length
    assert parser.state is (ResponseState.DONE if is_whole else ResponseState.BODY)
