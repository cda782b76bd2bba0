"""Requests one after another in the callbacks of one connection, against servers that say what no library would."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import TransferError
from bulkpresign.http.callback_connection import HandlerSteps
from bulkpresign.http.client import HttpClient
from bulkpresign.http.connection import Chunk
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.model import Link
from tests.http.talking import CHUNKED, INTERIM, PLAIN, Serve, body_of, saying, talk

#: The bodies that were taken; then the status and body of the response that was not, or the code of its error.
Result = tuple[list[bytes], tuple[int, bytes] | str | None]


def sent_each(serve: Serve, times: int = 3, refuses: bytes | None = None) -> Result:
    """The bodies that `send_each` handled; it leaves the body `refuses` to others."""
    taken: list[bytes] = []
    rest: list[tuple[int, bytes] | str] = []

    async def use(http: HttpClient, url: str) -> None:
        link = Link("GET", url, {})
        request = http.plain_request(link)
        assert request is not None

        def take(response: ResponseParser, body: Chunk, latency: float) -> HandlerSteps:
            assert response.status == 200
            assert latency >= 0
            if bytes(body) == refuses:
                return None
            yield
            taken.append(bytes(body))
            return request.data if len(taken) < times else b""

        sent = await http.send_each(link, request, take)
        if sent is None:
            return
        try:
            async with sent as response:
                rest.append((response.status, await body_of(response)))
        except TransferError as error:
            rest.append(error.code)

    asyncio.run(asyncio.wait_for(talk(serve, use), 20))
    return taken, rest[0] if rest else None


@given(cuts=st.lists(st.integers(0, len(PLAIN)), max_size=3))
def test_responses_in_whatever_pieces(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(PLAIN)]
    taken, rest = sent_each(saying(*[PLAIN[begin:end] for begin, end in pairwise(at)]))
    #: A head in pieces is the parser's: the bytes are the same.
    assert taken + ([rest[1]] if isinstance(rest, tuple) else []) == [b"hello world"] * (
        3 if rest is None else len(taken) + 1
    )


@pytest.mark.parametrize(
    "message",
    [CHUNKED, INTERIM, PLAIN.replace(b"200 OK", b"503 OK"), PLAIN.replace(b"ETag", b"Connection: close\r\nE")],
)
def test_other_responses_are_handed_over(message: bytes) -> None:
    taken, rest = sent_each(saying(message))
    assert taken == []
    assert rest == (503 if b"503" in message else 200, b"hello world")


def test_a_response_without_a_body_is_handed_over() -> None:
    assert sent_each(saying(b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n")) == ([], (429, b""))


def test_what_is_not_taken_is_handed_over_whole() -> None:
    assert sent_each(saying(PLAIN), refuses=b"hello world") == ([], (200, b"hello world"))


def test_an_answer_that_nobody_asked_for_is_no_answer_to_the_next_request() -> None:
    assert sent_each(saying(PLAIN + PLAIN.replace(b"hello", b"evil!"))) == ([], (200, b"hello world"))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (PLAIN[:-1], "Truncated"),
        (PLAIN[:20], "Disconnected"),
        (b"", "Disconnected"),
        (PLAIN.replace(b"11", b"9999999"), "Truncated"),
        (b"SSH-2.0-x\r\n\r\n", "NotHTTP"),
    ],
)
def test_an_answer_that_breaks_off(message: bytes, code: str) -> None:
    assert sent_each(saying(message, closes=True)) == ([], code)


@pytest.mark.parametrize("late", [0, 9, 11], ids="{} bytes later".format)
def test_a_length_that_is_too_small_is_no_reason_to_mix_bodies(late: int) -> None:
    message = PLAIN.replace(b"11", b"5")
    cut = len(message) - late
    taken, rest = sent_each(saying(message[:cut], message[cut:], pause=0.05))
    assert (taken, rest) == ([], (200, b"hello"))


def test_a_connection_that_closes_after_an_answer_takes_no_next_request() -> None:
    taken, rest = sent_each(saying(PLAIN, closes=True))
    assert taken == [b"hello world"]
    assert rest == "Disconnected"


def test_an_error_of_the_callback_is_raised() -> None:
    async def use(http: HttpClient, url: str) -> None:
        link = Link("GET", url, {})
        request = http.plain_request(link)
        assert request is not None

        def take(response: ResponseParser, body: Chunk, latency: float) -> HandlerSteps:
            yield
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await http.send_each(link, request, take)
        assert http.statistics().total.open == 0

    asyncio.run(talk(saying(PLAIN), use))
