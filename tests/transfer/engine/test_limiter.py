"""The limiter without a socket: slots, room for parts, bytes a second; and the circuit breaker."""

import asyncio
import time

import anyio
import pytest

from bulkpresign.errors import (
    BreakerError,
    ConnectionFailedError,
    OpenFilesError,
    RefusedError,
    ThrottledError,
    TransferError,
)
from bulkpresign.model import ObjectRef, Outcome
from bulkpresign.transfer.engine.breaker import CircuitBreaker
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.limiter import RequestLimiter

SLOW = ThrottledError("503 SlowDown", code="SlowDown", status=503)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def outcome(status: str, code: str | None = None) -> Outcome:
    return Outcome(ObjectRef("b", "k"), status, code=code, message=code)  # type: ignore[arg-type]


def limiter_of(slots: int, limit_rate: int | None = None) -> RequestLimiter:
    return RequestLimiter(ConcurrencyController(fixed=slots), limit_rate)


@pytest.mark.anyio
async def test_a_server_that_refuses_requests_gets_fewer_a_second() -> None:
    limiter = limiter_of(64)
    for _ in range(50):
        await limiter.acquire()
    limiter.release()
    await anyio.sleep(0.02)
    for _ in range(49):
        limiter.release(SLOW)
    assert limiter.controller.slowed == 1
    assert limiter.controller.is_paced
    began = time.monotonic()
    with anyio.fail_after(20):
        for _ in range(3):  # they come all the same
            await limiter.acquire()
            limiter.release()
    assert time.monotonic() > began + 0.01


@pytest.mark.anyio
async def test_a_run_hears_of_more_slots_and_of_room_for_parts() -> None:
    limiter = RequestLimiter(ConcurrencyController(initial=4, minimum=4))
    grown: list[int] = []
    started: list[int] = []
    left = [1] * 3

    def start() -> bool:
        if not left:
            return False
        started.append(left.pop())
        return True

    offers = asyncio.create_task(limiter.offer_slots())
    with limiter.watched(lambda: grown.append(limiter.controller.limit)), limiter.offering_parts(start) as offer:
        for _ in range(4):
            await limiter.acquire()
        limiter.responded(200, 0.05, 10 << 20)
        with limiter.moving_body():
            for _ in range(20):
                limiter.moved(1 << 20)
                await anyio.sleep(0.01)
        for _ in range(4):
            limiter.release()
    assert grown
    assert grown[0] > 4
    assert len(started) == 3
    assert offer.starting == 3
    limiter.wake()
    await anyio.sleep(0.01)
    assert len(started) == 3
    offers.cancel()


@pytest.mark.anyio
async def test_what_a_callback_of_a_connection_reports_starts_tasks() -> None:
    limiter, started = RequestLimiter(ConcurrencyController(initial=4, minimum=4)), anyio.Event()

    async def part() -> None:
        started.set()

    async with anyio.create_task_group() as group:

        def start() -> bool:  # needs a task around it: a callback has none
            group.start_soon(part)
            return False

        group.start_soon(limiter.offer_slots)
        with limiter.offering_parts(start):
            limiter.responded(200, 0.05, 10 << 20)
            with limiter.moving_body(), anyio.fail_after(5):
                asyncio.get_running_loop().call_soon(limiter.moved, 1 << 20)
                await started.wait()
        group.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "slowed"),
    [
        (RefusedError("404", code="NoSuchKey"), 0),
        (ConnectionFailedError("reset", code="Disconnected"), 0),
        (ConnectionFailedError("no answer in time", code="Timeout"), 1),
        (OpenFilesError("file: too many open files", code="TooManyOpenFiles"), 1),
    ],
)
async def test_what_slows_and_what_does_not(error: TransferError, slowed: int) -> None:
    limiter = limiter_of(8)
    await limiter.acquire()
    limiter.release(error)
    assert limiter.controller.slowed == slowed


@pytest.mark.anyio
async def test_no_more_are_in_flight_than_allowed_and_all_get_their_turn() -> None:
    limiter, most, now, done = limiter_of(3), 0, 0, 0

    async def work() -> None:
        nonlocal most, now, done
        await limiter.acquire()
        now += 1
        most = max(most, now)
        await anyio.sleep(0.001)
        now -= 1
        done += 1
        limiter.release()

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(work)
    assert (most, done) == (3, 50)


@pytest.mark.anyio
async def test_a_cancelled_waiter_passes_its_turn_on() -> None:
    limiter = limiter_of(1)
    await limiter.acquire()

    async def work() -> None:
        await limiter.acquire()
        limiter.release()

    scope = anyio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await work()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(cancelled)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            limiter.release()


@pytest.mark.anyio
@pytest.mark.parametrize("comes_first", [True, False])
async def test_a_turn_that_comes_as_its_waiter_is_cancelled_goes_to_the_next(comes_first: bool) -> None:
    """By asyncio's own cancellation, in the tick of the turn, before or after it. The waiter hears of it later."""
    limiter = limiter_of(1)
    await limiter.acquire()
    first, second = (asyncio.ensure_future(limiter.acquire()) for _ in range(2))
    await anyio.wait_all_tasks_blocked()
    for step in (limiter.release, first.cancel) if comes_first else (first.cancel, limiter.release):
        step()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, 10)


@pytest.mark.anyio
async def test_bytes_a_second_are_bounded() -> None:
    limiter = limiter_of(8, limit_rate=100_000)
    began = time.monotonic()

    async def throttle() -> None:
        for _ in range(10):
            await limiter.throttle(2_500)

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(throttle)
    assert time.monotonic() - began >= 150_000 / 100_000 - 1.0 - 0.05


def test_the_breaker_ends_a_run_of_equal_failures() -> None:
    breaker = CircuitBreaker(3)
    breaker.record([outcome("failed", "NoSuchHost")])
    breaker.record([outcome("failed", "NoSuchHost")])
    with pytest.raises(BreakerError, match="NoSuchHost"):
        breaker.record([outcome("failed", "NoSuchHost")])


@pytest.mark.parametrize(
    "between", [outcome("done"), outcome("skipped"), outcome("failed", "NoSuchKey"), outcome("failed", "DiskFull")]
)
def test_the_breaker_starts_anew_after_anything_else(between: Outcome) -> None:
    breaker = CircuitBreaker(3)
    for one in (outcome("failed", "NoSuchHost"), outcome("failed", "NoSuchHost"), between):
        breaker.record([one])
    breaker.record([outcome("failed", "NoSuchHost")])
    breaker.record([outcome("failed", "NoSuchHost")])


def test_missing_objects_never_trip_the_breaker() -> None:
    breaker = CircuitBreaker(3)
    for _ in range(100):
        breaker.record([outcome("failed", "NoSuchKey")])
