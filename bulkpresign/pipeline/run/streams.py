"""Results of a run as it goes on: one task runs, another takes what comes, and no more waits than a bound allows."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio

from bulkpresign.errors import BulkpresignError
from bulkpresign.http.client import require_asyncio
from bulkpresign.tasks import running_loop, wait_ended

T = TypeVar("T")
R = TypeVar("R")

_LEFT = (
    "the run was ended before its last result, because a loop over it was left by break, an exception or a timeout;"
    " begin a new run for the rest"
)
_CANCELLED = "the run was ended before its last result, because its task was cancelled"


class ResultQueue(Generic[T]):
    """Results between a run and its consumer. A place is reserved before the work of one result begins.

    So at most `places` results are being made or wait. The queue itself never refuses one.
    """

    def __init__(self) -> None:
        self._free = 0
        self._stopped = False
        self._waiting: deque[anyio.Event] = deque()
        self._results: deque[T] = deque()
        self._ended = False
        self._changed: anyio.Event | None = None  # None while no consumer waits

    @property
    def is_stopped(self) -> bool:
        """True where nobody takes results any more."""
        return self._stopped

    def open(self, places: int) -> None:
        """Sets how many results may be made at a time or wait."""
        self._free = places

    async def reserve(self) -> None:
        """Waits for a place. Once the queue is stopped there is one at any time."""
        while self._free <= 0 and not self._stopped:
            event = anyio.Event()
            self._waiting.append(event)
            await event.wait()
        self._free -= 1

    def try_reserve(self) -> bool:
        """Takes a place if there is one now."""
        if self._free <= 0 and not self._stopped:
            return False
        self._free -= 1
        return True

    def release(self) -> None:
        """Gives a place back."""
        self._free += 1
        if self._waiting:
            self._waiting.popleft().set()

    def put(self, result: T) -> None:
        """Adds a result, whose place is given back when it is taken. After the end it is dropped."""
        if not self._ended:
            self._results.append(result)
            self._wake()

    async def take(self) -> T:
        """The next result. Raises EndOfStream where there are no more."""
        while not self._results:
            if self._ended:
                raise anyio.EndOfStream
            self._changed = self._changed or anyio.Event()
            await self._changed.wait()
        result = self._results.popleft()
        self.release()
        return result

    def end(self) -> None:
        """No more results come; those that are here can be taken."""
        self._ended = True
        self._wake()

    def stop(self) -> None:
        """Nobody takes results any more, so nobody waits for a place."""
        self._stopped = True
        self._results.clear()
        self.end()
        while self._waiting:
            self._waiting.popleft().set()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class _Work(Generic[T, R]):
    """The task of a run. It knows nothing of who consumes, so that it can be ended when the consumer was deleted."""

    def __init__(self, start: Callable[[ResultQueue[T]], Awaitable[R]], check: Callable[[T], T] | None) -> None:
        self._check = check
        self.queue = ResultQueue[T]()
        self.result: R | None = None
        self.error: BaseException | None = None
        self._start = start
        self._task: asyncio.Task[None] | None = None
        self._is_ending = False
        self._is_end_known = False  # to the consumer, which closed the run

    def begin(self) -> None:
        if self._task is None and not self.queue.is_stopped:
            self._loop = require_asyncio()
            self._task = self._loop.create_task(self._run())
        elif self._task is not None and not self._task.done() and running_loop() is not self._loop:
            raise RuntimeError("a run goes on in the event loop that began it, and this is another one")

    async def _run(self) -> None:
        inner = asyncio.ensure_future(self._start(self.queue))
        try:
            await asyncio.wait([inner])
        except asyncio.CancelledError:
            self.queue.stop()
            inner.cancel()
            await asyncio.wait([inner])
        if not inner.cancelled():
            self.error = inner.exception()
            self.result = None if self.error else inner.result()
        self.queue.end()

    def abandon(self) -> None:
        """Ends the run soon; may be called from any thread, as the garbage collector does."""
        if self._task is not None and not self._task.done():
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        """Cancels the run once: the second time it would end before it is closed."""
        if self._task is not None and not self._is_ending:
            self._is_ending = True
            self._task.cancel()

    async def join(self) -> None:
        """Waits until the run has ended."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Ends the run, and waits until it has ended."""
        self._is_end_known = True
        if self._task is None:
            self.queue.stop()
            return
        self._cancel()
        await wait_ended([self._task])

    async def next(self) -> T:
        self.begin()
        try:
            result = await self.queue.take()
            return result if self._check is None else self._check(result)
        except anyio.EndOfStream:
            await self.join()
        raise self._end()

    def _end(self) -> BaseException:
        """The exception that follows the last result: the one that ended the run early, or StopAsyncIteration.

        It is raised once, and a BulkpresignError by later loops: none of them ends as if all results had come.
        """
        error, self.error = self.error, None
        if error is None and not self._is_end_known and (self.result is None or self.queue.is_stopped):
            error = BulkpresignError(_LEFT if self._is_ending else _CANCELLED)
        return error or StopAsyncIteration()


class ResultStream(Generic[T, R]):
    """An async iterator over the results of a run, which begins with the first step.

    Leaving a loop over it (`break`, `return`, an exception, a cancellation) ends the run, and so does dropping the
    iterator. `async with` and `aclose` also wait until it has ended: then there is no task of it left. What ended the
    run early is raised at the end of the loop, after the results that came before. A loop over the results of a run
    that another loop has left raises BulkpresignError, because results are missing; after `aclose` it is empty.
    """

    def __init__(
        self, start: Callable[[ResultQueue[T]], Awaitable[R]], *, check: Callable[[T], T] | None = None
    ) -> None:
        """`check` is given each result as it is taken, and may raise instead of giving it back."""
        self._work = _Work[T, R](start, check)

    def __aiter__(self) -> "_Loop[T, R]":
        return _Loop(self._work, self)

    async def __anext__(self) -> T:
        return await self._work.next()

    async def aclose(self) -> None:
        """Ends the run where it goes on, and waits for its end."""
        await self._work.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._work.abandon()


class _Loop(Generic[T, R]):
    """The iterator of one `async for`. It is deleted when the loop is left, in whatever way."""

    def __init__(self, work: _Work[T, R], stream: ResultStream[T, R]) -> None:
        self._work = work
        self._stream = stream  # whose deletion ends the run

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self._work.next()
        except BaseException:  # the loop ends with it, though a traceback may hold this frame for long
            self._work.abandon()
            raise

    def __del__(self) -> None:
        self._work.abandon()
