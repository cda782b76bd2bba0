"""An executor that loses workers."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from bulkpresign.scale.messages import Batch, decode_batch


class Losing(Executor):
    """Runs calls in this thread; loses the worker of each batch for which `loses` is true."""

    def __init__(self, loses: Callable[[Batch], bool]) -> None:
        self._loses = loses
        self._threads = ThreadPoolExecutor(1)
        self._max_workers = 1
        self.batches: list[Batch] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.batches.append(batch := decode_batch(args[0]))
        if not self._loses(batch):
            return self._threads.submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        future.set_exception(RuntimeError("the worker is gone"))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
