"""Signals that stop a run. The first one cancels it, the second one ends the process at once."""

import os
import signal

import anyio
from anyio.abc import TaskStatus

#: The word for a run that was stopped by a signal.
SIGNAL_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}


def stop_signals() -> list[signal.Signals]:
    """The signals that stop a run. SIGHUP is not one of them if it is ignored, as with nohup."""
    handles_hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if handles_hangup else [])]


async def stop_on_signal(
    scope: anyio.CancelScope, stopped: list[int], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Cancels `scope` at the first signal, and adds the signal's number to `stopped`."""
    with anyio.open_signal_receiver(*stop_signals()) as signals:
        task_status.started()
        async for number in signals:
            if stopped:  # the second signal
                os._exit(128 + number)
            stopped.append(number)
            scope.cancel()
