"""Runs the command line in its own process."""

import os
import subprocess
import sys
from pathlib import Path

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BULKPRESIGN = [sys.executable, "-m", "bulkpresign"]


def run(
    *arguments: str, folder: Path, given: str | bytes = b"", env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command in `folder`, with `given` as standard input. `env` takes the place of CREDENTIALS."""
    done = subprocess.run(
        [*BULKPRESIGN, *arguments],
        cwd=folder,
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        env={**os.environ, **(CREDENTIALS if env is None else env)},
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
