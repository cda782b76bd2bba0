"""The main program of a worker process: `python -m bulkpresign.scale.process`. See `processes`.

Calls come on standard input, answers go to standard output. The end of the input interrupts a running call and ends
the process: it ends with its coordinator, however that ends. SIGINT, SIGTERM and SIGHUP are blocked: they are for the
coordinator, which interrupts its workers and keeps what they finished. Service managers and batch systems send them to
all processes of a job.
"""

import os
import pickle
import queue
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import BinaryIO

from bulkpresign.scale.processes import ALIVE, BYTES, ERROR, LENGTH, REPORT, RESULT
from bulkpresign.scale.reports import reporter

_ALIVE_EVERY = 1.0
#: Interrupts the main thread as SIGINT would, which is blocked.
_INTERRUPT = signal.SIGUSR1
_FOR_COORDINATOR = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Answers:
    """Writes answers, and heartbeats between them, to the descriptor that was standard output."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)  # what a call prints is no answer
        self._lock = threading.Lock()

    def write(self, *frame: bytes) -> None:
        """Writes one frame, given in pieces."""
        with self._lock:
            for piece in frame:
                left = memoryview(piece)
                while left:
                    left = left[os.write(self._descriptor, left) :]

    def report(self, data: bytes) -> None:
        """Writes a report of the call that runs."""
        self.write(REPORT, len(data).to_bytes(LENGTH, "big"), data)

    def keep_alive(self, is_over: threading.Event) -> None:
        """Sends a heartbeat each second."""
        with suppress(OSError):  # the coordinator is gone
            while not is_over.wait(_ALIVE_EVERY):
                self.write(ALIVE)


def _read_calls(stream: BinaryIO, calls: "queue.SimpleQueue[list[bytes] | None]", main_thread: int) -> None:
    """Reads calls, each in its pieces. At the end of the input, also within a call, interrupts the main thread."""
    with suppress(EOFError):
        while True:
            calls.put([_exactly(stream, _number(stream)) for _ in range(_number(stream))])
    calls.put(None)
    signal.pthread_kill(main_thread, _INTERRUPT)


def _number(stream: BinaryIO) -> int:
    return int.from_bytes(_exactly(stream, LENGTH), "big")


def _exactly(stream: BinaryIO, count: int) -> bytes:
    """So many bytes. Raises EOFError for fewer."""
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _answer(call: bytes, *apart: bytes) -> tuple[bytes, bytes, bytes]:
    """Runs a call, with the arguments that were apart from it; its answer as a frame, in pieces."""
    try:
        function, args, kwargs = pickle.loads(call, buffers=apart)  # noqa: S301 - the coordinator made it
        result = function(*args, **kwargs)
        kind, answer = (BYTES, result) if type(result) is bytes else (RESULT, pickle.dumps(result))
    except Exception as error:  # noqa: BLE001 - it is raised where the call was made
        kind, answer = ERROR, pickle.dumps(error)
    return kind, len(answer).to_bytes(LENGTH, "big"), answer


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Calls the handler of SIGINT: that of an event loop that runs, or the one that raises KeyboardInterrupt."""
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)


def main() -> None:
    """Runs calls until the input ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_COORDINATOR)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process has it ignored
    signal.signal(_INTERRUPT, _interrupt)
    answers, is_over = Answers(), threading.Event()
    reporter.send = answers.report
    calls: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
    threading.Thread(target=answers.keep_alive, args=(is_over,), daemon=True).start()
    reader = (sys.stdin.buffer, calls, threading.get_ident())
    try:
        threading.Thread(target=_read_calls, args=reader, daemon=True).start()
        while (pieces := calls.get()) is not None:
            answers.write(*_answer(*pieces))
        signal.signal(_INTERRUPT, signal.SIG_IGN)
    except (KeyboardInterrupt, BrokenPipeError):  # before a call, or the coordinator is gone
        signal.signal(_INTERRUPT, signal.SIG_IGN)
    is_over.set()


if __name__ == "__main__":
    main()
