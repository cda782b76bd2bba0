"""The marker for tests that need no server, and the order of files."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.units import MACHINE, SERVERS, WHOLE, sort_files, wanted

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


def test_files_that_take_long_go_first() -> None:
    """Those with other than unit tests, then those with more tests. The tests of a file keep their order."""
    items = [item("few.py"), item("mixed.py", is_unit=False), *(item("mixed.py") for _ in range(2))]
    items += [*(item("many.py") for _ in range(5)), *(item("whole.py", is_unit=False) for _ in range(4))]
    ordered = list(items)
    sort_files(ordered)
    assert [each.path.name for each in ordered] == [
        *(["whole.py"] * 4),
        *(["mixed.py"] * 3),
        *(["many.py"] * 5),
        "few.py",
    ]
    assert ordered == [*items[9:], *items[1:9], items[0]]


def item(file: str, is_unit: bool = True) -> pytest.Item:
    """A test of a file, with what its order depends on."""
    made = SimpleNamespace(path=Path(file), get_closest_marker=lambda name: is_unit and name == "unit")
    return cast("pytest.Item", made)
