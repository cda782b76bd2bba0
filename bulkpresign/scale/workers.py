"""The workers of a run: an executor, how many calls it runs at a time, and where its workers are."""

import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, suppress
from math import ceil
from pathlib import Path
from typing import Protocol

import anyio.to_thread

from bulkpresign.errors import BreakerError, ParameterError
from bulkpresign.http.client import require_asyncio
from bulkpresign.redact import redacted
from bulkpresign.scale.processes import Processes
from bulkpresign.tasks import uninterrupted
from bulkpresign.text import counted

_PROCESSES, _DASK = "processes", "dask"
#: A container's quota of CPU time, and the period that it is for, in microseconds.
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
#: More processes than any machine has cores.
_MOST = 4096


class Workers(Protocol):
    """The workers of a run."""

    #: False where they may have another folder of the same name.
    are_local: bool

    @property
    def problem(self) -> str | None:
        """Why no call will end any more; None while calls do."""

    @property
    def executor(self) -> Executor:
        """Runs calls."""

    @property
    def count(self) -> int:
        """The calls that run at a time. It may change."""

    def on_report(self, take: Callable[[bytes], object]) -> None:
        """Lets a function take the reports of running calls, in threads, where there are any."""

    def interrupt(self) -> None:
        """Lets running calls end early, where that can be done."""

    def close(self) -> None:
        """Ends what was started for the run."""


class LocalProcesses:
    """Processes of this machine, for one run."""

    are_local = True
    problem: str | None = None

    def __init__(self, count: int) -> None:
        try:
            self.executor, self.count = Processes(count), count
        except RuntimeError as error:  # a container or the user may have so many threads and processes
            raise ParameterError(f"executor {_PROCESSES}:{count}: {error}: use fewer processes") from error

    def on_report(self, take: Callable[[bytes], object]) -> None:
        """Lets a function take the reports of running calls."""
        self.executor.on_report = take

    def interrupt(self) -> None:
        """Lets running calls end early."""
        self.executor.interrupt()

    def close(self) -> None:
        """Ends the processes."""
        self.executor.shutdown(cancel_futures=True)


class GivenExecutor:
    """An executor of the calling program, which stays open."""

    are_local = False
    problem: str | None = None

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        workers = getattr(executor, "_max_workers", None)  # as those of the standard library have it
        self.count = workers if isinstance(workers, int) else usable_cores()

    def on_report(self, take: Callable[[bytes], object]) -> None:
        """The calls of such an executor give no reports."""

    def interrupt(self) -> None:
        """The calls of such an executor can't be ended."""

    def close(self) -> None:
        """The executor is the caller's. Only what its threads keep open between batches is closed."""
        from bulkpresign.scale.worker import close_idle  # most runs need none

        close_idle()


def workers_of(executor: str | Executor) -> Workers:
    """The workers that are asked for: `processes`, `processes:N`, `dask:ADDRESS`, or an executor.

    Raises ParameterError.
    """
    if not isinstance(executor, str):
        if not isinstance(executor, Executor):
            raise ParameterError(f"executor of type {type(executor).__name__} is no concurrent.futures.Executor")
        return GivenExecutor(executor)
    kind, colon, value = executor.partition(":")
    if kind == _PROCESSES:
        return LocalProcesses(_count(executor, value) if colon else usable_cores())
    if kind == _DASK and value:
        from bulkpresign.scale.dask import DaskWorkers  # takes 1 s to import

        return DaskWorkers(value)
    raise ParameterError(f"executor {executor!r} is not one of processes, processes:N and dask:ADDRESS")


@asynccontextmanager
async def opened(executor: str | Executor) -> AsyncIterator[Workers]:
    """The workers that are asked for; closed at the end. Raises ParameterError, also where asyncio does not run."""
    require_asyncio()
    workers = workers_of(executor)
    try:
        yield workers
    finally:
        await close(workers)


async def close(workers: Workers) -> None:
    """Ends what was started for a run, also where it is cancelled meanwhile: that is raised at the end."""
    await uninterrupted(anyio.to_thread.run_sync(workers.close))


def submitted(workers: Workers, function: Callable[[bytes], bytes], data: bytes) -> Future[bytes]:
    """A call that was handed out. Raises BreakerError where the executor takes none, or ends none any more."""
    check_workers(workers)
    try:
        return workers.executor.submit(function, data)
    except Exception as error:  # each executor has its own errors: it was shut down, or can't start a process
        reason = redacted(str(error) or type(error).__name__)
        raise BreakerError(f"the executor takes no more work: {reason}") from error


def check_workers(workers: Workers) -> None:
    """Raises BreakerError where no call will end any more."""
    if workers.problem is not None:
        raise BreakerError(f"stopped: {workers.problem}")


def surplus(executor: object) -> str | None:
    """A warning for more processes than there are cores for them, or None."""
    kind, colon, value = executor.partition(":") if isinstance(executor, str) else ("", "", "")
    cores = usable_cores()
    if kind != _PROCESSES or not colon or not value.isdecimal() or int(value) <= cores:
        return None
    return f"executor {executor}: this process may use {counted(cores, 'core')}; more processes than that are no faster"


def _count(executor: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) <= _MOST:
        raise ParameterError(f"executor {executor!r}: the number of processes is from 1 to {_MOST:,}")
    return int(text)


def usable_cores() -> int:
    """The cores that this process may use. A container may use the time of fewer than it sees."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no cgroup of version 2, or `max`: no quota
        quota, period = _CPU_QUOTA.read_text().split()
        return min(cores, max(1, ceil(int(quota) / int(period))))
    return cores
