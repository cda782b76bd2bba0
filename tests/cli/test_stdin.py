"""Waiting for standard input."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import BULKPRESIGN, CREDENTIALS


def catches(pid: int, number: int) -> bool:
    """True once a process has a handler for a signal: before that, one that is sent simply ends it."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("verb", [["get", "-", "--to", "data"], ["sign", "-"]])
def test_a_signal_is_heard_while_nothing_comes(tmp_path: Path, verb: list[str], number: int, code: int) -> None:
    with subprocess.Popen(
        [*BULKPRESIGN, *verb], cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=CREDENTIALS
    ) as process:
        try:
            while not catches(process.pid, signal.SIGTERM):
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(0.5)  # mostly it has come to read by then
            process.send_signal(number)
            process.wait(timeout=20)
        finally:
            process.kill()
        assert process.returncode == code
    assert list(tmp_path.iterdir()) == []
