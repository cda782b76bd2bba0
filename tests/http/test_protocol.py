"""The parser of responses without a socket: however the bytes are cut, the same response comes out."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkpresign.errors import ConnectionFailedError, TruncatedError
from bulkpresign.http import protocol
from bulkpresign.http.protocol import ResponseParser, ResponseState
from tests.fuzz.answers import answers

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b'Content-Length: 11\r\nETag: "e"\r\n\r\nhello world'
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
UNTIL_CLOSE = OK + b"\r\nhello world"
CLOSING = SIZED.replace(b"ETag", b"Connection: close\r\nETag")
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SIZED
NO_CONTENT = b'HTTP/1.1 204 No Content\r\nETag: "e"\r\n\r\n'
NOT_MODIFIED = b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\nContent-Length: 11\r\n\r\n'
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
HEAD = OK + b"Content-Length: 11\r\n\r\n"

#: State, status, length, body; the error's code.
Result = tuple[ResponseState, int, int | None, bytes, str | None]


def parse(*pieces: bytes, parser: ResponseParser | None = None, method: str = "GET", ends: bool = True) -> Result:
    """The outcome of one request whose response comes in these pieces; then the server closes, where it `ends`."""
    parser = parser or ResponseParser()
    parser.start(expects_body=method != "HEAD")
    body = bytearray()
    for piece in pieces:
        if piece:
            for chunk in parser.feed(memoryview(piece)):
                body += chunk
    if ends:
        parser.feed_eof()
    length = parser.length if parser.status else None
    return parser.state, parser.status, length, bytes(body), parser.error.code if parser.error else None


DONE, MUST_CLOSE, FAILED = ResponseState.DONE, ResponseState.MUST_CLOSE, ResponseState.FAILED


@pytest.mark.parametrize(
    ("message", "method", "expected"),
    [
        (SIZED, "GET", (DONE, 200, 11, b"hello world", None)),
        (CHUNKED, "GET", (DONE, 200, None, b"hello world", None)),
        (UNTIL_CLOSE, "GET", (MUST_CLOSE, 200, None, b"hello world", None)),
        (CLOSING, "GET", (MUST_CLOSE, 200, 11, b"hello world", None)),
        (OLD, "GET", (MUST_CLOSE, 200, 11, b"hello world", None)),
        (INTERIM, "GET", (DONE, 200, 11, b"hello world", None)),
        (NO_CONTENT, "GET", (DONE, 204, None, b"", None)),
        (NOT_MODIFIED, "GET", (DONE, 304, 11, b"", None)),
        (EMPTY, "GET", (DONE, 200, 0, b"", None)),
        (HEAD, "HEAD", (DONE, 200, 11, b"", None)),
        (NO_CONTENT, "HEAD", (DONE, 204, None, b"", None)),
        (SIZED[:-1], "GET", (FAILED, 200, 11, b"hello worl", "Truncated")),
        (SIZED[:30], "GET", (FAILED, 0, None, b"", "Disconnected")),
        (CHUNKED[:-1], "GET", (FAILED, 200, None, b"hello world", "Truncated")),
        (SIZED.replace(b"11", b"12"), "GET", (FAILED, 200, 12, b"hello world", "Truncated")),
        (SIZED + b"!", "GET", (MUST_CLOSE, 200, 11, b"hello world", None)),
        (SIZED + SIZED, "GET", (MUST_CLOSE, 200, 11, b"hello world", None)),
        (CHUNKED + SIZED, "GET", (MUST_CLOSE, 200, None, b"hello world", None)),
        (NO_CONTENT + SIZED, "GET", (MUST_CLOSE, 204, None, b"", None)),
        (HEAD + b"hello world", "HEAD", (MUST_CLOSE, 200, 11, b"", None)),
        (HEAD + SIZED, "HEAD", (MUST_CLOSE, 200, 11, b"", None)),
        (EMPTY + b"evil", "HEAD", (MUST_CLOSE, 200, 0, b"", None)),
        (SIZED.replace(b"11", b"+5"), "GET", (FAILED, 0, None, b"", "NotHTTP")),
        (SIZED.replace(b"11", b"9" * 19), "GET", (FAILED, 0, None, b"", "NotHTTP")),
        (SIZED.replace(b"ETag", b"Content-Length: 4\r\nETag"), "GET", (FAILED, 0, None, b"", "NotHTTP")),
        (SIZED.replace(b"ETag", b"Transfer-Encoding: chunked\r\nETag"), "GET", (FAILED, 0, None, b"", "NotHTTP")),
        (b"SSH-2.0-x\r\n\r\n", "GET", (FAILED, 0, None, b"", "NotHTTP")),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc", "GET", None),
    ],
)
def test_a_response_cut_at_every_byte_into_two_and_three_pieces(
    message: bytes, method: str, expected: Result | None
) -> None:
    whole = parse(message, method=method)
    assert expected in {None, whole}
    size = len(message)
    for first in range(size + 1):
        assert parse(message[:first], message[first:], method=method) == whole
        for second in range(first, size + 1, 7):
            assert parse(message[:first], message[first:second], message[second:], method=method) == whole


@given(answers, st.lists(st.integers(0, 400), max_size=6), st.sampled_from(["GET", "HEAD"]))
@example(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc", [3], "GET")
@example(OK + b"Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc", [30, 66], "GET")
def test_any_bytes_in_any_pieces_give_the_same(message: bytes, cuts: list[int], method: str) -> None:
    at = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    result = parse(*(message[begin:end] for begin, end in pairwise(at)), method=method)
    assert result == parse(message, method=method)
    assert result[0] in {DONE, MUST_CLOSE, FAILED}
    assert (result[0] is FAILED) == (result[4] is not None)


@given(st.lists(st.sampled_from([SIZED, CHUNKED, INTERIM, NO_CONTENT, NOT_MODIFIED, EMPTY]), max_size=6))
def test_a_parser_serves_one_request_after_another(messages: list[bytes]) -> None:
    parser = ResponseParser()
    for message in messages:
        assert parse(message, parser=parser, ends=False) == parse(message)


def test_a_request_by_head_leaves_nothing_for_the_next() -> None:
    parser = ResponseParser()
    assert parse(HEAD, parser=parser, method="HEAD", ends=False)[0] is DONE
    assert parse(SIZED, parser=parser, ends=False) == (DONE, 200, 11, b"hello world", None)


@pytest.mark.parametrize("before", [[], [SIZED], [CHUNKED], [NO_CONTENT]])
def test_a_response_that_no_request_asked_for_forbids_reuse(before: list[bytes]) -> None:
    parser = ResponseParser()
    for message in before:
        parse(message, parser=parser, ends=False)
    assert parser.state is (DONE if before else ResponseState.IDLE)
    assert list(parser.feed(memoryview(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"))) == []
    assert parser.state is MUST_CLOSE
    assert parser.status == (parser.status if before else 0)


def test_body_data_of_a_known_length_is_not_copied() -> None:
    parser = ResponseParser()
    parser.start()
    assert list(parser.feed(memoryview(SIZED[:-5]))) == [b"hello "]
    data = memoryview(b"wor")
    (chunk,) = parser.feed(data)
    assert chunk is data
    assert parser.state is ResponseState.BODY
    rest = b"ld" + SIZED
    (chunk,) = parser.feed(memoryview(rest))
    assert isinstance(chunk, memoryview)
    assert (bytes(chunk), chunk.obj) == (b"ld", rest)
    assert parser.state is MUST_CLOSE


def test_the_states_of_a_response() -> None:
    parser = ResponseParser()
    seen = [parser.state]
    parser.start()
    for piece in (b"", INTERIM[:30], INTERIM[30:-11], INTERIM[-11:-4], INTERIM[-4:]):
        seen.append(parser.state)
        parser.feed(memoryview(piece))
    seen.append(parser.state)
    states = ResponseState
    assert seen == [states.IDLE, states.HEAD, states.HEAD, states.HEAD, states.BODY, states.BODY, states.DONE]
    parser.forbid_reuse()
    assert parser.state is states.MUST_CLOSE


def test_the_end_of_the_connection_says_why() -> None:
    parser = ResponseParser()
    parser.start()
    parser.feed_eof("Connection reset by peer")
    assert isinstance(parser.error, ConnectionFailedError)
    assert str(parser.error) == "the connection broke: Connection reset by peer"
    parser = ResponseParser()
    parser.start()
    parser.feed(memoryview(UNTIL_CLOSE))
    parser.feed_eof("Connection reset by peer")  # the body may have gone on
    assert isinstance(parser.error, TruncatedError)


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (OK, b"X-A: b\r\n"),
        (OK + b"X-A: ", b"b"),
        (b"HTTP/1.1 200 ", b"b"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (CHUNKED[:-15], b"X-A: b\r\n"),
        (CHUNKED[:-15], b"X"),
        (CHUNKED[:55] + b"1;", b"b"),
    ],
    ids=["headers", "a value", "a reason", "interim", "trailers", "a trailer", "a chunk's extension"],
)
@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_everything_that_is_no_body_has_a_bound(begin: bytes, again: bytes, size: int) -> None:
    parser = ResponseParser()
    parser.start()
    parser.feed(memoryview(begin))
    fed = 0
    while parser.state is not FAILED:
        parser.feed(memoryview(again * -(-size // len(again))))
        fed += 1
        assert fed <= protocol.MAX_HEAD + 1
    assert parser.error is not None
    assert parser.error.code == "NotHTTP"
    assert parser.error.retry == "same_link"


@pytest.mark.parametrize(("count", "state"), [(99, DONE), (100, FAILED)])
def test_the_number_of_headers_has_a_bound(count: int, state: ResponseState) -> None:
    assert parse(OK + b"Content-Length: 0\r\n" + b"X-A: b\r\n" * count + b"\r\n")[0] is state


@pytest.mark.parametrize("bytes_at_once", [1, 1 << 20])
@pytest.mark.parametrize(("size", "state"), [(60_000, DONE), (protocol.MAX_HEAD, FAILED)])
def test_a_head_has_a_bound_and_the_body_behind_it_has_none(
    bytes_at_once: int, size: int, state: ResponseState
) -> None:
    head = OK + b"Content-Length: 200000\r\nX-A: " + b"b" * size + b"\r\n\r\n"
    message = head + bytes(200_000)
    pieces = [message[at : at + bytes_at_once] for at in range(0, len(head) + 10, bytes_at_once)]
    result = parse(*pieces, message[len(pieces) * bytes_at_once :])
    assert result[0] is state
    assert len(result[3]) == (200_000 if state is DONE else 0)


@pytest.mark.parametrize("begin", [OK, CHUNKED[:-15], b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1"])
def test_a_head_has_a_time_from_its_first_byte(begin: bytes) -> None:
    parser = ResponseParser()
    parser.start()
    assert not parser.is_head_late(1e9)  # nothing came: that is silence, which is the connection's affair
    for at, byte in enumerate(begin):
        parser.feed(memoryview(bytes([byte])), now=float(at))
    since = {OK: 0.0, CHUNKED[:-15]: 70.0}.get(begin, 25.0)
    assert not parser.is_head_late(since + protocol.HEAD_TIMEOUT)
    assert parser.is_head_late(since + protocol.HEAD_TIMEOUT + 1)
    parser.start()
    assert not parser.is_head_late(1e9)


def test_its_repr_says_the_state() -> None:
    parser = ResponseParser()
    assert repr(parser) == "<ResponseParser IDLE>"
    parse(SIZED, parser=parser)
    assert repr(parser) == "<ResponseParser DONE 200>"
