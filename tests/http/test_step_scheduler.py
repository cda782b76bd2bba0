"""Responses that come in one iteration of the event loop: each step for all of them, and none disturbs another."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import TransferError
from bulkpresign.http.buffers import Buffers
from bulkpresign.http.callback_connection import CallbackConnection, HandlerSteps
from bulkpresign.http.connection import Chunk
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.http.step_scheduler import Steps, StepScheduler
from tests.http.talking import PLAIN

LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)


class Wire(asyncio.Transport):
    """A transport that keeps the data that is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def abort(self) -> None:
        pass


class Requests:
    """A connection that sends one request after another, and what was handled: at most `most` bodies."""

    def __init__(self, scheduler: StepScheduler, most: int = 1, log: list[str] | None = None, name: str = "") -> None:
        self.connection, self.wire = CallbackConnection(asyncio.get_running_loop(), Buffers(), scheduler), Wire()
        self.connection.connection_made(self.wire)
        self.taken: list[bytes] = []
        self.task = asyncio.ensure_future(self.connection.send_each(b"request 0", self._take))
        self._most, self._name = most, name
        self._log = [] if log is None else log

    def _take(self, response: ResponseParser, body: Chunk, latency: float) -> HandlerSteps:
        self._log.append(f"{self._name} verified")
        if self._name == "broken":
            raise ZeroDivisionError
        yield
        self._log.append(f"{self._name} stored")
        self.taken.append(bytes(body))
        yield
        return b"request %d" % len(self.taken) if len(self.taken) < self._most else b""

    def receive(self, *pieces: bytes) -> None:
        """Bytes come, in one iteration of the loop."""
        for piece in pieces:
            at = 0
            while at < len(piece):
                buffer = self.connection.get_buffer(-1)
                count = min(len(buffer), len(piece) - at)
                buffer[:count] = piece[at : at + count]
                self.connection.buffer_updated(count)
                at += count


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(10):
            await test()

    asyncio.run(within())


def test_a_step_is_done_for_all_before_the_next_one() -> None:
    done: list[str] = []

    def work(name: str, steps: int) -> Steps:
        for step in range(steps):
            done.append(f"{name}{step}")
            yield

    async def test() -> None:
        scheduler = StepScheduler()
        for name, steps in (("a", 2), ("b", 3), ("c", 0)):
            scheduler.add(work(name, steps))
        assert done == []
        await asyncio.sleep(0)
        assert done == ["a0", "b0", "a1", "b1", "b2"]
        scheduler.add(work("d", 1))
        scheduler.run()
        assert done[-1] == "d0"
        await asyncio.sleep(0)
        assert done.count("d0") == 1

    run(test)


def test_all_responses_are_verified_before_one_is_stored() -> None:
    async def test() -> None:
        log: list[str] = []
        scheduler = StepScheduler()
        all_requests = [Requests(scheduler, log=log, name=name) for name in "ab"]
        await asyncio.sleep(0)
        for requests in all_requests:
            requests.receive(PLAIN)
        assert log == []
        assert all([await requests.task for requests in all_requests])
        assert log == ["a verified", "b verified", "a stored", "b stored"]

    run(test)


def test_a_large_response_does_not_wait() -> None:
    async def test() -> None:
        requests = Requests(StepScheduler())
        await asyncio.sleep(0)
        requests.receive(LARGE)
        assert requests.taken == [bytes(50_000)]
        requests = Requests(StepScheduler())
        await asyncio.sleep(0)
        requests.receive(LARGE[:20_000], LARGE[20_000:])
        assert requests.taken == [bytes(50_000)]
        assert await requests.task

    run(test)


@given(st.lists(st.integers(0, len(PLAIN)), max_size=5), st.lists(st.integers(0, len(LARGE)), max_size=3))
def test_pieces_in_one_iteration_are_one_response(cuts: list[int], large_cuts: list[int]) -> None:
    async def test() -> None:
        for message, places in ((PLAIN, cuts), (LARGE, large_cuts)):
            requests = Requests(StepScheduler())
            await asyncio.sleep(0)
            at = [0, *sorted(places), len(message)]
            requests.receive(*[message[begin:end] for begin, end in pairwise(at) if begin < end])
            #: A head that was cut before a large piece is the parser's.
            if await requests.task:
                assert requests.taken == [message.partition(b"\r\n\r\n")[2]]
            else:
                body = bytearray()
                await requests.connection.stream_to(body.extend)
                assert not requests.taken
                assert body == message.partition(b"\r\n\r\n")[2]

    run(test)


@pytest.mark.parametrize("more", [b"!", PLAIN])
@pytest.mark.parametrize("cut", [0, 60, len(PLAIN) - 3])
def test_more_than_the_response_is_taken_by_nobody(more: bytes, cut: int) -> None:
    async def test() -> None:
        requests = Requests(StepScheduler(), most=2)
        await asyncio.sleep(0)
        requests.receive(PLAIN[:cut])
        await asyncio.sleep(0)  # now the length is known
        requests.receive(PLAIN[cut:], more)
        assert not await requests.task
        body = bytearray()
        await requests.connection.stream_to(body.extend)
        assert not requests.taken
        assert body == b"hello world"
        assert not requests.connection.is_reusable

    run(test)


def test_a_response_that_came_before_the_end_of_its_connection_counts() -> None:
    async def test() -> None:
        requests = Requests(StepScheduler(), most=2)
        await asyncio.sleep(0)
        requests.receive(PLAIN)
        requests.connection.connection_lost(None)
        with pytest.raises(TransferError, match="closed by the server"):
            await requests.task
        assert requests.taken == [b"hello world"]
        assert requests.wire.sent == [b"request 0"]
        last = Requests(StepScheduler())
        await asyncio.sleep(0)
        last.receive(PLAIN)
        last.connection.connection_lost(None)
        assert await last.task

    run(test)


def test_a_response_that_waits_when_its_task_is_cancelled_is_not_taken() -> None:
    async def test() -> None:
        scheduler = StepScheduler()
        cancelled, other = Requests(scheduler), Requests(scheduler)
        await asyncio.sleep(0)
        cancelled.task.cancel()  # the task ends in the next round, before the steps
        for requests in (cancelled, other):
            requests.receive(PLAIN)
        with pytest.raises(asyncio.CancelledError):
            await cancelled.task
        assert await other.task
        assert (cancelled.taken, other.taken) == ([], [b"hello world"])

    run(test)


def test_a_wire_that_breaks_ends_one_connection_and_not_the_others() -> None:
    async def test() -> None:
        scheduler = StepScheduler()
        all_requests = [Requests(scheduler, most=2), Requests(scheduler)]
        await asyncio.sleep(0)

        def broken(data: bytes) -> None:
            raise MemoryError

        all_requests[0].wire.write = broken  # type: ignore[method-assign]
        for requests in all_requests:
            requests.receive(PLAIN)
        await asyncio.wait([requests.task for requests in all_requests])
        assert all_requests[1].taken == [b"hello world"]
        with pytest.raises(MemoryError):
            await all_requests[0].task

    run(test)


def test_an_error_ends_one_connection_and_not_the_others() -> None:
    async def test() -> None:
        scheduler = StepScheduler()
        all_requests = [Requests(scheduler, name=name) for name in ("a", "broken", "b")]
        await asyncio.sleep(0)
        for requests in all_requests:
            requests.receive(PLAIN)
        await asyncio.wait([requests.task for requests in all_requests])
        assert [requests.taken for requests in all_requests] == [[b"hello world"], [], [b"hello world"]]
        with pytest.raises(ZeroDivisionError):
            await all_requests[1].task

    run(test)
