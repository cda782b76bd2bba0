"""The workers of a Dask cluster."""

import importlib
import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from bulkpresign.errors import ParameterError

_CONNECT_TIMEOUT, _CLOSE_TIMEOUT = "10s", "3s"
#: Seconds between two checks of the workers.
CHECK_INTERVAL = 2.0
#: After so many checks in a row without a scheduler, it counts as gone.
_CHECKS_WITHOUT = 5
#: Minutes that a run waits for a worker while there is none.
_MINUTES_WITHOUT_WORKERS = 10


class DaskWorkers:
    """The workers of the cluster whose scheduler has an address. Needs the extra `dask`. Raises ParameterError."""

    are_local = False

    def __init__(self, address: str) -> None:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError as error:
            message = f"executor dask:{address} needs Dask: pip install 'bulkpresign[dask]'"
            raise ParameterError(message) from error
        self._levels = {logger: logger.level for logger in _loggers()}
        for logger in self._levels:
            logger.setLevel(logging.CRITICAL + 1)  # they log each lost connection with a traceback
        try:
            self._client = distributed.Client(address, timeout=_CONNECT_TIMEOUT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ParameterError(f"executor dask:{address}: there is no scheduler: {error}") from error
        # A call is run again by this package, with fresh links, and not by the scheduler.
        self.executor: Executor = self._client.get_executor(pure=False, retries=0)
        self._address = address
        self._problem: str | None = None
        self._is_closed = threading.Event()
        self.count = self._threads_of_workers()
        if not self.count:
            self.close()
            raise ParameterError(f"executor dask:{address}: the cluster has no worker")
        # A daemon: a call to a scheduler that is gone takes long, and nobody waits for it.
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def problem(self) -> str | None:
        """See Workers. Dask itself may notice first that the scheduler is gone, and closes its client then.

        A call that a client takes while it closes never ends, and can't be cancelled without a traceback.
        """
        return self._gone if self._client.status in {"closing", "closed"} else self._problem

    @property
    def _gone(self) -> str:
        return f"the scheduler at {self._address} is gone"

    def _threads_of_workers(self) -> int:
        return sum(self._client.nthreads().values())

    def _follow(self) -> None:
        """Counts workers that come and go. Notices when all are gone, or the scheduler: calls would wait for ever."""
        checks_without = without_workers = 0
        while not self._is_closed.wait(CHECK_INTERVAL):
            checks_without = 0 if self._client.status == "running" else checks_without + 1
            if checks_without >= _CHECKS_WITHOUT:
                self._problem = self._gone
            elif not checks_without:
                with suppress(Exception):  # Dask's errors for a lost scheduler are of many types
                    count = self._threads_of_workers()
                    without_workers = 0 if count else without_workers + 1
                    self.count = max(1, count)  # others may come
            if without_workers * CHECK_INTERVAL >= _MINUTES_WITHOUT_WORKERS * 60:
                self._problem = (
                    f"the cluster at {self._address} has had no worker for {_MINUTES_WITHOUT_WORKERS} minutes"
                )

    def on_report(self, take: Callable[[bytes], object]) -> None:
        """Calls on a cluster give no reports."""

    def interrupt(self) -> None:
        """Calls that the cluster no longer wants end by themselves: see `released`."""

    def close(self) -> None:
        """Ends the connection to the cluster."""
        self._is_closed.set()
        with suppress(Exception):
            self._client.close(timeout=_CLOSE_TIMEOUT)
        for logger, level in self._levels.items():
            logger.setLevel(level)


def released() -> Callable[[], bool] | None:
    """In a call that a cluster runs: tells whether its run has ended, however it did. None in any other call.

    Dask can't end a call that runs. It notes that nobody waits for it any more.
    """
    distributed: Any = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        worker = distributed.get_worker()
        task = worker.state.tasks[worker.get_current_task()]
    except (ValueError, LookupError, AttributeError):  # another kind of worker
        return None
    return lambda: bool(task.state == "cancelled")


def _loggers() -> list[logging.Logger]:
    """The loggers of Dask, which have levels of their own."""
    return [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("distributed")]
