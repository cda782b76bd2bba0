"""Signals that end a run: it is cancelled in order at the first, and the process ends at once at the second."""

import os
import signal

import anyio
from anyio.abc import TaskStatus

#: How a run that was stopped is called.
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}


def stop_signals() -> list[signal.Signals]:
    """The signals that end a run. SIGHUP is left alone where it is ignored, as under nohup."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else [])]


async def stop_on_signal(
    scope: anyio.CancelScope, stopped: list[int], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Cancels `scope` at the first signal, and keeps its number in `stopped`."""
    with anyio.open_signal_receiver(*stop_signals()) as signals:
        task_status.started()
        async for number in signals:
            if stopped:  # asked twice: at once
                os._exit(128 + number)
            stopped.append(number)
            scope.cancel()
