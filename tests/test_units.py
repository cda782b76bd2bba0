"""The marker for tests that need no server."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.units import MACHINE, SERVERS, WHOLE, wanted

ROOT = Path(__file__).parents[1]


def test_no_unit_test_asks_for_a_server(request: pytest.FixtureRequest) -> None:
    units = [item for item in request.session.items if item.get_closest_marker("unit")]
    assert request.node in units
    assert not [item.nodeid for item in units if wanted(item) & (SERVERS | MACHINE)]
    assert not [item.nodeid for item in units if item.path.relative_to(ROOT / "tests").parts[0] in WHOLE]


def test_every_fixture_that_starts_a_server_is_known() -> None:
    """Servers are started by fixtures of `tests/conftest.py`, which give an S3Server."""
    source = (ROOT / "tests" / "conftest.py").read_text("utf-8")
    starting = set(re.findall(r"^def ([a-z]\w*)\(.*\) -> (?:Iterator\[S3Server\]|S3Server):$", source, re.MULTILINE))
    assert {"seaweedfs", "server"} <= starting <= SERVERS


def test_a_server_that_a_parameter_names_counts() -> None:
    command = [sys.executable, "-m", "pytest", "-n", "0", "--collect-only", "-q", "-m", "unit", "tests/signing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert "test_sigv4.py::" in done.stdout
    assert "test_servers_that_have_but_one" not in done.stdout
