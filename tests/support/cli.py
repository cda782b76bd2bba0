"""Runs the command line in its own process."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.fork_server import run_forked

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BULKPRESIGN = [sys.executable, "-m", "bulkpresign"]
#: A renewal command: it signs the rows that it gets again.
SIGN_ROWS = shlex.join([*BULKPRESIGN, "sign", "-", "--from-format", "jsonl", "--format", "jsonl", "-q"])
#: Variables that Python, or a library in C, looks at when a process starts.
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "TZ", "MALLOC_")
_TIMEOUT = 60.0


def run(
    *arguments: str, folder: Path, given: str | bytes = b"", env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command in `folder`, with `given` as standard input. `env` takes the place of CREDENTIALS."""
    own = CREDENTIALS if env is None else env
    data = given.encode() if isinstance(given, str) else given
    runner = _run_new if any(name.startswith(_READ_AT_START) for name in own) else run_forked
    code, out, err = runner(arguments, folder, data, {**os.environ, **own}, _TIMEOUT)
    return subprocess.CompletedProcess(
        [*BULKPRESIGN, *arguments], code, out.decode(errors="replace"), err.decode(errors="replace")
    )


def _run_new(
    arguments: Sequence[str], folder: Path, given: bytes, environment: Mapping[str, str], timeout: float
) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [*BULKPRESIGN, *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        env=environment,
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
