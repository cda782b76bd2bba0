"""ministack, the server that minds regions, future dates, STS and IAM; tampered SigV2 and POSTs pass.

It pins botocore to one version, so it can't live beside us. `BULKPRESIGN_MINISTACK` names its command; else
it is `ministack` on the PATH; else it is installed once into a virtual environment below `~/.cache`.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bulkpresign.demo.daemon import HOST, Daemon, free_ports, wait_until
from tests.servers.server import S3Server, environment, lets_us_in, new_server, start_in

REQUIREMENT = "ministack>=1.5"
CACHE = Path.home() / ".cache" / "bulkpresign-tests" / "ministack"


@contextmanager
def start() -> Iterator[S3Server]:
    program = _program()
    with ExitStack() as stack:
        yield start_in(stack, lambda attempt: _start_once(program, attempt))


def _start_once(program: str, stack: ExitStack) -> S3Server:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ministack-")))
    (port,) = free_ports(1)
    server = new_server("ministack", port)
    env = environment(folder, **_settings(server, port))
    daemon = Daemon([program], log=folder / "ministack.log", folder=folder, env=env)
    stack.enter_context(daemon)
    wait_until(lambda: lets_us_in(server), daemon)
    return server


def _settings(server: S3Server, port: int) -> dict[str, str]:
    """Without BIND_HOST it listens on all addresses, without AUTH it lets everyone in."""
    return {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "SERVICES": "s3,sts,iam",
        "LOG_LEVEL": "WARNING",
    }


def _program() -> str:
    return os.environ.get("BULKPRESIGN_MINISTACK") or shutil.which("ministack") or str(_installed())


def _installed() -> Path:
    """The command in the cache. One process installs it, others of this run and of other runs wait.

    A virtual environment can't be renamed, for its scripts name their folder. So there is a lock instead, and a mark
    that the installation came to its end.
    """
    mark = CACHE / "installed"
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with CACHE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", CACHE], check=True)
            subprocess.run([CACHE / "bin" / "python", "-m", "pip", "install", "--quiet", REQUIREMENT], check=True)
            mark.touch()
    return CACHE / "bin" / "ministack"
