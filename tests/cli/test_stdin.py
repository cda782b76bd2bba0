"""Waiting for standard input."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import BULKPRESIGN, CREDENTIALS


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("verb", [["get", "-", "--to", "data"], ["sign", "-"]])
def test_a_signal_is_heard_while_nothing_comes(tmp_path: Path, verb: list[str], number: int, code: int) -> None:
    with subprocess.Popen(
        [*BULKPRESIGN, *verb], cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=CREDENTIALS
    ) as process:
        try:
            time.sleep(2)
            process.send_signal(number)
            process.wait(timeout=20)
        finally:
            process.kill()
        assert process.returncode == code
    assert list(tmp_path.iterdir()) == []
