"""The parser of answers, and what is made of them: nothing that a server says is more than an error of its request."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from bulkpresign.errors import TransferError
from bulkpresign.http.buffers import Buffers
from bulkpresign.http.callback_connection import CallbackConnection
from bulkpresign.http.clock import Clock
from bulkpresign.http.dates import unix_time
from bulkpresign.http.response import Response
from bulkpresign.http.s3_errors import error_of, retry_after
from bulkpresign.http.step_scheduler import StepScheduler
from bulkpresign.model import Link
from bulkpresign.redact import redacted, secrets_of
from tests.fuzz.answers import BODIES, NAMES, VALUES, answers
from tests.fuzz.settings import FUZZ

SECRET = "0123456789abcdef" * 4
LINK = Link("GET", f"http://h/a?X-Amz-Expires=60&X-Amz-Signature={SECRET}", {})
NOW = datetime(2026, 11, 24, tzinfo=UTC)
#: What came of a request: its status, headers and body, or an error's code.
Said = tuple[int, dict[str, str], bytes] | str


class Wire(asyncio.Transport):
    """What a connection writes to; nothing of it matters here."""

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def said(pieces: list[bytes], *, is_head: bool = False) -> Said:
    """What a connection makes of bytes that come in these pieces, and then end."""
    connection = CallbackConnection(asyncio.get_running_loop(), Buffers(), StepScheduler())
    connection.connection_made(Wire())
    body = bytearray()

    async def ask() -> Said:
        try:
            await connection.send(b"", None, expects_body=not is_head)
            await connection.stream_to(body.extend)
        except TransferError as error:
            str(error).encode()
            return error.code
        return connection.response.status, connection.response.headers, bytes(body)

    asking = asyncio.ensure_future(ask())
    await asyncio.sleep(0)
    for piece in pieces:
        if connection.is_open and piece:
            connection.get_buffer(-1)[: len(piece)] = piece
            connection.buffer_updated(len(piece))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    connection.connection_lost(None)
    return await asyncio.wait_for(asking, 10)


@FUZZ
@given(answers, st.booleans())
@example(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc", False)
@example(b"HTTP/1.1 200 OK\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc", False)
def test_any_bytes_are_an_answer_or_an_error(message: bytes, is_head: bool) -> None:
    found = asyncio.run(said([message], is_head=is_head))
    if not isinstance(found, str):
        status, headers, _ = found
        assert 200 <= status <= 999
        for text in (*headers, *headers.values()):
            text.encode()


@FUZZ
@given(answers, st.lists(st.integers(0, 400), max_size=6))
def test_pieces_make_no_difference(message: bytes, cuts: list[int]) -> None:
    at = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    pieces = [message[begin:end] for begin, end in pairwise(at)]
    assert asyncio.run(said(pieces)) == asyncio.run(said([message]))


def test_an_answer_cut_at_every_byte() -> None:
    for body in BODIES:
        message = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: x\r\n\r\n%s" % (len(body), body)
        whole = asyncio.run(said([message]))
        for cut in range(len(message) + 1):
            assert asyncio.run(said([message[:cut], message[cut:]])) == whole
            if cut < len(message):
                assert asyncio.run(said([message[:cut]])) in {"Disconnected", "Truncated"}


header_maps = st.dictionaries(
    st.sampled_from([name.lower().decode() for name in NAMES]),
    st.sampled_from([value.decode("latin-1") for value in VALUES]) | st.text(max_size=30),
)
error_bodies = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda code, message, region: (
            b"<Error><Code>%b</Code><Message>%b</Message><Region>%b</Region></Error>" % (code, message, region)
        ),
        *(st.binary(max_size=60) | st.just(SECRET.encode()) | st.just(LINK.url.encode()) for _ in range(3)),
    ),
)


@FUZZ
@given(st.integers(100, 999), header_maps, error_bodies, st.datetimes(timezones=st.just(UTC)) | st.none())
def test_any_answer_is_an_error_that_can_be_stored_and_shown(
    status: int, headers: dict[str, str], body: bytes, ends: datetime | None
) -> None:
    link = Link(LINK.method, LINK.url, {}, ends)
    error = error_of(status, headers, body, link, NOW, difference="our clock is wrong")
    assert len(str(error).encode("utf-8", "surrogatepass")) < 10_000
    assert error.code.isascii()
    assert SECRET not in f"{error} {error.code}"
    assert link.expires_by(NOW) in {True, False}
    answer = Response(status, headers, None, None, clock=Clock(), link=link)  # type: ignore[arg-type]
    assert (answer.etag or "").isascii()


@FUZZ
@given(st.text(max_size=60) | st.sampled_from([value.decode("latin-1") for value in VALUES]))
def test_any_text_is_a_time_to_come_or_none(text: str) -> None:
    moment = unix_time(text)
    assert moment is None or 0 <= moment < 253_402_300_800 + 400_000
    pause = retry_after({"retry-after": text}, NOW)
    assert pause is None or pause >= 0
    clock = Clock()
    clock.learn(text)
    assert clock.now() < datetime.now(UTC) + timedelta(days=8)
    assert clock.difference == "" or clock.skew != timedelta()


tokens = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=20, max_size=60)


@FUZZ
@given(tokens, st.text(max_size=50), st.text(max_size=50))
def test_a_secret_of_the_request_is_hidden_wherever_it_stands(token: str, before: str, after: str) -> None:
    before, after = before.replace(token, ""), after.replace(token, "")
    url = f"http://h/a?X-Amz-Signature={token}&versionId=v"
    assert token not in redacted(f"{before}{token}{after}", secrets_of(url, {}))
    assert token not in redacted(f"{before} http://h/b?t={token} {after}")
    assert token not in redacted(f"{before} X-Amz-Security-Token: {token} {after}")
