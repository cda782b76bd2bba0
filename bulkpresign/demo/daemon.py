"""Background programs that end with this process, on free local ports."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from threading import Thread
from typing import Self

from bulkpresign.errors import DaemonEndedError, DaemonError, ParameterError

HOST = "127.0.0.1"
#: Seconds until the start of a server that doesn't respond fails.
START_TIMEOUT = 30.0
#: Seconds between two checks of whether a server is ready.
POLL = 0.02

#: Runs in the new process before the program: calls `prctl(PR_SET_PDEATHSIG, SIGKILL)`, checks that the parent still
#: runs, and executes the program. (`preexec_fn` isn't safe with threads.)
DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


class Daemon:
    """A background program that ends with this process.

    Its output is appended to `log`. `stop` kills it and all processes that it started. If this process ends without
    `stop`, even by SIGKILL, Linux kills the program when the *thread* that started it ends (prctl(2)). So each program
    has its own thread, which only waits for it.
    """

    def __init__(self, command: Sequence[str], *, log: Path, folder: Path, env: Mapping[str, str]) -> None:
        self.log = log
        started: Future[subprocess.Popen[bytes]] = Future()
        arguments = command, folder, env, started
        self._thread = Thread(target=self._run, args=arguments, name=command[0], daemon=True)
        self._thread.start()
        self._process = started.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The id of the process, and of its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once the program has ended."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Kills the program at once. Its data is temporary, and an orderly shutdown takes seconds."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._thread.join()

    def last_words(self, lines: int = 5) -> str:
        """The last lines of its log, for messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _run(
        self,
        command: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        started: "Future[subprocess.Popen[bytes]]",
    ) -> None:
        try:
            process = self._start(command, folder, env)
        except BaseException as error:  # noqa: BLE001 - raised again in the constructor
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()

    def _start(self, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603
                [*_die_with_parent(), *command],
                cwd=folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def wheel_program(package: str, name: str, *, extra: str) -> Path:
    """The path of the program in a wheel.

    Raises:
        ParameterError: the wheel is not installed.

    """
    try:
        found = [path.locate() for path in files(package) or () if path.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        raise ParameterError(f"{name} is missing: pip install 'bulkpresign[{extra}]'")
    return Path(str(found[0])).resolve()


def free_ports(count: int) -> list[int]:
    """`count` different ports of 127.0.0.1 that are free now. They are not reserved."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until(ready: Callable[[], bool], daemon: Daemon, timeout: float = START_TIMEOUT) -> None:
    """Returns when `ready` is true. A failed request or an invalid response means that it is not ready yet.

    Raises:
        DaemonEndedError: the program has ended.
        DaemonError: it is not ready after `timeout` seconds.

    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            if ready():
                return
        if not daemon.running:
            raise DaemonEndedError(f"the server ended when it started; its log ends:\n{daemon.last_words()}")
        time.sleep(POLL)
    raise DaemonError(f"the server isn't ready after {timeout:.0f} s; its log ends:\n{daemon.last_words()}")


def _die_with_parent() -> list[str]:
    """The start of a command line with which the kernel kills the process when this one ends; empty if not on Linux."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())]
