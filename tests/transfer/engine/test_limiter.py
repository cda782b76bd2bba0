"""The pace without a socket: what is allowed in flight, bytes a second, and the breaker."""

import asyncio
import time

import anyio
import pytest

from bulkpresign.errors import BreakerError, ConnectionFailedError, RefusedError, ThrottledError
from bulkpresign.model import ObjectRef, Outcome
from bulkpresign.transfer.engine import limiter as limiter_module
from bulkpresign.transfer.engine.breaker import CircuitBreaker
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter

SLOW = ThrottledError("503 SlowDown", code="SlowDown", status=503)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def outcome(status: str, code: str | None = None) -> Outcome:
    return Outcome(ObjectRef("b", "k"), status, code=code, message=code)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_throttled_request_halves_what_is_in_flight_once_a_burst() -> None:
    limiter = AdaptiveLimiter(64)
    for _ in range(10):
        await limiter.acquire()
    for _ in range(10):
        limiter.release(SLOW)
    assert (limiter.allowed, limiter.lowest, limiter.slowed) == (5, 5, 1)


@pytest.mark.anyio
async def test_it_never_stops_altogether(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module, "COOL_DOWN", 0)
    limiter = AdaptiveLimiter(8)
    for _ in range(20):
        await limiter.acquire()
        limiter.release(SLOW)
    assert (limiter.allowed, limiter.slowed) == (1, 20)


@pytest.mark.anyio
async def test_it_grows_by_about_one_for_each_round_of_successes_and_no_further_than_asked() -> None:
    limiter = AdaptiveLimiter(16)
    for _ in range(16):
        await limiter.acquire()
    for _ in range(16):
        limiter.release(SLOW)
    assert limiter.allowed == 8
    for _ in range(8):
        await limiter.acquire()
        limiter.release()
    assert limiter.allowed in {8, 9}
    for _ in range(1000):
        await limiter.acquire()
        limiter.release()
    assert limiter.allowed == 16


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "slowed"),
    [
        (RefusedError("404", code="NoSuchKey"), 0),
        (ConnectionFailedError("reset", code="Disconnected"), 0),
        (ConnectionFailedError("no answer in time", code="Timeout"), 1),
    ],
)
async def test_what_slows_and_what_does_not(error: RefusedError | ConnectionFailedError, slowed: int) -> None:
    limiter = AdaptiveLimiter(8)
    await limiter.acquire()
    limiter.release(error)
    assert limiter.slowed == slowed


@pytest.mark.anyio
async def test_no_more_are_in_flight_than_allowed_and_all_get_their_turn() -> None:
    limiter, most, now, done = AdaptiveLimiter(3), 0, 0, 0

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
    limiter = AdaptiveLimiter(1)
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
async def test_a_turn_that_comes_to_a_waiter_as_it_is_cancelled_goes_to_the_next() -> None:
    """By asyncio's own cancellation, in the very tick in which the turn came."""
    limiter = AdaptiveLimiter(1)
    await limiter.acquire()
    first, second = (asyncio.ensure_future(limiter.acquire()) for _ in range(2))
    await anyio.wait_all_tasks_blocked()
    limiter.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, 10)


@pytest.mark.anyio
async def test_bytes_a_second_are_bounded() -> None:
    limiter = AdaptiveLimiter(8, limit_rate=100_000)
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
    breaker.record(outcome("failed", "NoSuchHost"))
    breaker.record(outcome("failed", "NoSuchHost"))
    with pytest.raises(BreakerError, match="NoSuchHost"):
        breaker.record(outcome("failed", "NoSuchHost"))


@pytest.mark.parametrize(
    "between", [outcome("done"), outcome("skipped"), outcome("failed", "NoSuchKey"), outcome("failed", "DiskFull")]
)
def test_the_breaker_starts_anew_after_anything_else(between: Outcome) -> None:
    breaker = CircuitBreaker(3)
    for one in (outcome("failed", "NoSuchHost"), outcome("failed", "NoSuchHost"), between):
        breaker.record(one)
    breaker.record(outcome("failed", "NoSuchHost"))
    breaker.record(outcome("failed", "NoSuchHost"))


def test_missing_objects_never_trip_the_breaker() -> None:
    breaker = CircuitBreaker(3)
    for _ in range(100):
        breaker.record(outcome("failed", "NoSuchKey"))
