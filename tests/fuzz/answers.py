"""Answers of servers that mean ill, or are broken: random bytes, and good answers that were changed."""

from hypothesis import strategies as st

NAMES = [
    b"Content-Length",
    b"Transfer-Encoding",
    b"ETag",
    b"Date",
    b"Last-Modified",
    b"Content-Range",
    b"Retry-After",
    b"Connection",
    b"Upgrade",
    b"x-amz-bucket-region",
    b"x-amz-checksum-crc32",
    b"x-amz-checksum-type",
    b"x-amz-server-side-encryption",
]
VALUES = [
    *(b"0", b"5", b"11", b"-1", b"+5", b"99999999999999999999", b"9" * 400, b"18446744073709551615", b"0x5"),
    *(b"chunked", b"gzip", b"gzip, chunked", b"close", b"keep-alive", b"upgrade", b"h2c", b"COMPOSITE", b"aws:kms"),
    *(b'"5eb63bbbe01eeed093cb22bb8f5acdc3"', b'"5eb63bbbe01eeed093cb22bb8f5acdc3-9999"', b'W/"e"', b'"\xff"', b""),
    *(b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 99999 08:49:37 GMT", b"Sun, 99999999999 Nov 1994 08:49:37 GMT"),
    *(
        b"bytes 0-4/11",
        b"bytes */*",
        b"bytes 0-99999999999999999999/99999999999999999999999",
        b"AAAAAA==",
        b"AAAAAA==-3",
    ),
]
BODIES = [
    b"hello world",
    b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n",
    b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
    b"<Error><Code>SlowDown</Code></Error>",
    b"",
]

_lines = st.tuples(st.sampled_from(NAMES) | st.binary(max_size=12), st.sampled_from(VALUES) | st.binary(max_size=30))
_statuses = st.sampled_from([100, 101, 199, 200, 204, 206, 301, 304, 307, 400, 403, 404, 412, 416, 429, 500, 503, 999])


@st.composite
def well_formed(draw: st.DrawFn) -> bytes:
    """An answer with the form of one, and any headers."""
    head = b"HTTP/1.%d %d X\r\n" % (draw(st.sampled_from([0, 1])), draw(_statuses))
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in draw(st.lists(_lines, max_size=6)))
    return head + headers + b"\r\n" + draw(st.sampled_from(BODIES) | st.binary(max_size=50))


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """One in which some bytes are replaced, left out or doubled, and which may be cut off."""
    message = bytearray(draw(well_formed()))
    for at, what in draw(st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=4)), max_size=4)):
        end = at + draw(st.integers(0, 4))
        message[at:end] = what
    return bytes(message[: draw(st.integers(0, 400))])


#: What a server says, until it closes the connection.
answers = st.one_of(
    st.binary(max_size=200), well_formed(), changed(), st.lists(well_formed(), min_size=2, max_size=3).map(b"".join)
)
