"""An executor of worker processes on this machine.

Unlike `concurrent.futures.ProcessPoolExecutor`, it survives the loss of a worker: only the call that the worker was
running fails, and another process takes its place. A worker that stops answering is killed. Workers don't import the
program's main module nor anything in the present folder, have no credentials in their environment, and end with this
process, however it ends.
"""

import fcntl
import os
import pickle
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import bulkpresign
from bulkpresign.errors import WorkerLostError

P = ParamSpec("P")
T = TypeVar("T")
_Piece = bytes | pickle.PickleBuffer

#: Seconds without a heartbeat after which a worker is killed. It sends one each second.
SILENCE = 30.0
#: Seconds that workers have to end by themselves.
_GRACE = 3.0
#: Bytes of a pipe, from which answers are read in pieces.
_PIPE_SIZE = 1 << 20
#: glibc would give memory back after each large answer, and take it anew for the next: a fifth of the time of `sign`.
_KEEPING_MEMORY = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(64 << 20))
_CA_BUNDLE, _RENEW_URL = "AWS_CA_BUNDLE", "BULKPRESIGN_RENEW_URL"
#: The kinds of frames that a worker sends: a heartbeat, and a report, a result, a result of the type `bytes`, or an
#: exception, each with its length in eight bytes. Bytes are not pickled, neither here nor in calls: that would copy the
#: rows of `sign` twice. A call is the number of its pieces, and each piece with its length: the pickled call, and the
#: arguments that are bytes.
ALIVE, REPORT, RESULT, BYTES, ERROR = b"a", b"n", b"r", b"b", b"e"
LENGTH = 8


class Processes(Executor):
    """Runs calls in `count` processes, which start at once: they are ready when the first calls come.

    Raises RuntimeError where the system allows no more threads: each process has one here.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        #: Takes the reports of calls that run, in a thread.
        self.on_report: Callable[[bytes], object] = _ignore
        self._calls: queue.SimpleQueue[tuple[Future[Any], list[_Piece]] | None] = queue.SimpleQueue()
        self._workers: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = self._is_interrupted = False
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(count)]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:
            self.shutdown(wait=False)
            raise

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a function of a module in one of the processes. Arguments and result are pickled.

        A result of the type `bytes` arrives as a bytearray.
        """
        if self._is_stopped:
            raise RuntimeError("the executor was shut down")
        future: Future[T] = Future()
        self._calls.put((future, _pieces(fn, args, kwargs)))
        return future

    def interrupt(self) -> None:
        """Lets running calls end early: KeyboardInterrupt is raised in them. Their results still arrive."""
        self._is_interrupted = True
        for worker in list(self._workers):
            _close_input(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the workers once the calls have ended.

        With `cancel_futures`, those that did not begin are cancelled, and the others have a moment to end.
        """
        self._is_stopped = True
        while cancel_futures:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                break
            if call is not None:
                call[0].cancel()
        for _ in self._threads:
            self._calls.put(None)
        if cancel_futures and wait:
            self._end_calls()
        if wait:
            for thread in self._threads:
                thread.join()

    def _end_calls(self) -> None:
        """Interrupts running calls, and kills workers that go on: an interrupt during an import can get lost."""
        self.interrupt()
        until = time.monotonic() + _GRACE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for worker in list(self._workers):
            worker.kill()

    def _serve(self) -> None:
        """One worker, and those that take its place, as a thread of this process."""
        worker: subprocess.Popen[bytes] | None = None
        with suppress(OSError):  # the first call raises it
            worker = self._start()
        while (call := self._calls.get()) is not None:
            future, pieces = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if worker is not None and worker.poll() is not None:  # it was killed before it got the call
                    self._end(worker, grace=0.0)
                    worker = None
                worker = worker or self._start()
                kind, answer = self._call(worker, pieces)
            except (WorkerLostError, OSError) as error:
                if worker is not None:
                    self._end(worker, grace=0.0)
                    worker = None
                future.set_exception(error if isinstance(error, WorkerLostError) else WorkerLostError(str(error)))
            else:
                if kind == BYTES:
                    future.set_result(answer)
                elif kind == RESULT:
                    future.set_result(pickle.loads(answer))  # noqa: S301 - our own process made it
                else:
                    future.set_exception(pickle.loads(answer))  # noqa: S301
            del call, future, pieces
        if worker is not None:
            self._end(worker, _GRACE)

    def _call(self, worker: subprocess.Popen[bytes], pieces: Sequence[_Piece]) -> tuple[bytearray, bytearray]:
        """Sends a call, and waits for its answer. Raises WorkerLostError, and OSError where the worker is gone."""
        _send(worker, pieces)
        while (kind := _read(worker, 1)) in (ALIVE, REPORT):
            if kind == REPORT:
                self.on_report(bytes(_frame(worker)))
        return kind, _frame(worker)

    def _start(self) -> subprocess.Popen[bytes]:
        package = str(Path(bulkpresign.__file__).parents[1])
        environment = _KEEPING_MEMORY | {name: value for name, value in os.environ.items() if not _is_secret(name)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
        worker = subprocess.Popen(
            # -P: no module is imported from the present folder, which may hold what was downloaded
            [sys.executable, "-P", "-m", "bulkpresign.scale.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the coordinator, which interrupts its workers
        )
        _widen(worker)
        self._workers.add(worker)
        if self._is_interrupted:  # before it was one of the workers
            _close_input(worker)
        return worker

    def _end(self, worker: subprocess.Popen[bytes], grace: float) -> None:
        _close_input(worker)
        try:
            worker.wait(grace)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        if worker.stdout is not None:
            worker.stdout.close()
        self._workers.discard(worker)


def _is_secret(variable: str) -> bool:
    """True for variables that workers don't get: AWS_* but for the certificates to trust, and a url with a token."""
    name = variable.upper()
    return name == _RENEW_URL or (name.startswith("AWS_") and name != _CA_BUNDLE)


def _close_input(worker: subprocess.Popen[bytes]) -> None:
    if worker.stdin is not None:
        with suppress(OSError):
            worker.stdin.close()


def _widen(worker: subprocess.Popen[bytes]) -> None:
    """Makes the pipe of answers as large as an unprivileged process may: it is read with fewer calls of the system."""
    if worker.stdout is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # the user's pipes have too many pages together
            fcntl.fcntl(worker.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_SIZE)


def _pieces(fn: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[_Piece]:
    """A call as the pieces of its frame."""
    apart: list[_Piece] = []
    bare = tuple(pickle.PickleBuffer(each) if type(each) is bytes else each for each in args)
    return [pickle.dumps((fn, bare, kwargs), protocol=5, buffer_callback=apart.append), *apart]


def _send(worker: subprocess.Popen[bytes], pieces: Sequence[_Piece]) -> None:
    """Sends a call. Raises WorkerLostError, and OSError where the worker is gone."""
    assert worker.stdin is not None  # noqa: S101 - opened as a pipe
    try:
        worker.stdin.write(len(pieces).to_bytes(LENGTH, "big"))
        for piece in pieces:
            worker.stdin.write(memoryview(piece).nbytes.to_bytes(LENGTH, "big"))
            worker.stdin.write(piece)
        worker.stdin.flush()
    except ValueError as error:  # it was interrupted
        raise WorkerLostError("the worker was stopped") from error
    except BrokenPipeError as error:
        raise _ended(worker) from error


def _ended(worker: subprocess.Popen[bytes]) -> WorkerLostError:
    """The error for a worker that is gone, or about to be."""
    code = worker.wait()
    return WorkerLostError(f"a worker ended {f'by signal {-code}' if code < 0 else f'with code {code}'}")


def _frame(worker: subprocess.Popen[bytes]) -> bytearray:
    """The content of a frame."""
    return _read(worker, int.from_bytes(_read(worker, LENGTH), "big"))


def _ignore(_report: bytes) -> None:
    """Takes the reports that nobody asked for."""


def _read(worker: subprocess.Popen[bytes], count: int) -> bytearray:
    assert worker.stdout is not None  # noqa: S101 - opened as a pipe
    descriptor, data = worker.stdout.fileno(), bytearray(count)
    readable = select.poll()
    readable.register(descriptor, select.POLLIN)
    left = memoryview(data)
    while left:
        if not readable.poll(SILENCE * 1000):
            raise WorkerLostError(f"a worker sent no heartbeat for {SILENCE:g} s")
        received = os.readv(descriptor, [left])
        if not received:
            raise _ended(worker)
        left = left[received:]
    return data
