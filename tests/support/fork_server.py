"""Runs the command line in forks of a process that has imported the package, as each import takes half a second of CPU.

A fork is a process of its own, with its own descriptors, environment and folder. What depends on how Python itself
starts, such as its encodings, needs a new process.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

#: Modules that commands import when they need them.
_MODULES = (
    "aiobotocore.session",
    "aiohttp",
    "bulkpresign.cli.app",
    *(f"bulkpresign.pipeline.{verb}" for verb in ("abort", "certify", "copy", "get", "merge", "put", "sign", "verify")),
)


class _Server:
    """The process that is forked. It ends with this one, as its end of the socket is closed then."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL
            )
        self._lock = threading.Lock()
        atexit.register(self.close)

    def start(self, request: bytes, descriptors: Sequence[int]) -> socket.socket:
        """Starts a command. The socket gives its process id, and then its exit code, each in a line."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            length = len(request).to_bytes(8, "big")
            socket.send_fds(self._ours, [length], [*descriptors, theirs.fileno()])
            self._ours.sendall(request)
        return ours

    def close(self) -> None:
        """Ends the process."""
        self._ours.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)


def run_forked(
    arguments: Sequence[str], folder: Path, given: bytes, environment: Mapping[str, str], timeout: float
) -> tuple[int, bytes, bytes]:
    """The exit code of a command, and what it wrote to standard output and standard error.

    Raises TimeoutExpired.
    """
    request = json.dumps([list(arguments), os.fspath(folder), dict(environment)]).encode()
    pipes = [os.pipe() for _ in range(3)]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    code = _server().start(request, theirs)
    for descriptor in theirs:
        os.close(descriptor)
    written: dict[int, bytes] = {}
    threads = [threading.Thread(target=_write, args=(pipes[0][1], given), daemon=True)]
    threads += [threading.Thread(target=_read, args=(pipes[n][0], written, n), daemon=True) for n in (1, 2)]
    for thread in threads:
        thread.start()
    with code, code.makefile() as lines:
        process = int(lines.readline())
        code.settimeout(timeout)
        try:
            answer = int(lines.readline())
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), timeout) from None
    for thread in threads:
        thread.join(timeout)
    return answer, written[1], written[2]


@cache
def _server() -> _Server:
    return _Server()


def _write(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(descriptor, "wb", buffering=0) as stream:
        view = memoryview(data)
        while view:
            view = view[stream.write(view) :]


def _read(descriptor: int, written: dict[int, bytes], name: int) -> None:
    with os.fdopen(descriptor, "rb") as stream:
        written[name] = stream.read()


def _serve(requests: socket.socket) -> None:
    """Forks for each request, until there are no more. Returns in the forks only."""
    while True:
        length, descriptors, _, _ = socket.recv_fds(requests, 8, 4)
        if not length:
            os._exit(0)
        data = requests.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
        if os.fork() == 0:
            requests.close()
            _wait(data, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _wait(data: bytes, descriptors: list[int]) -> None:
    """Forks once more, and tells the exit code of that process, in which this function returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # so that the exit code is kept
    child = os.fork()
    if child == 0:
        arguments, folder, environment = json.loads(data)
        _become(arguments, folder, environment, descriptors)
        return
    for descriptor in descriptors[:3]:
        os.close(descriptor)
    with os.fdopen(descriptors[3], "w", buffering=1) as answer:
        answer.write(f"{child}\n")
        _, status = os.waitpid(child, 0)
        answer.write(f"{os.waitstatus_to_exitcode(status)}\n")
    os._exit(0)


def _become(arguments: list[str], folder: str, environment: dict[str, str], descriptors: list[int]) -> None:
    """Makes this process the one of a command."""
    for target, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, target)
    for descriptor in descriptors:
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["bulkpresign", *arguments]


if __name__ == "__main__":
    for name in _MODULES:
        import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _serve(socket.socket(fileno=int(sys.argv[1])))
    gc.unfreeze()
    import_module("bulkpresign.cli").main()
