"""Which tests are unit tests: those that need no server, no root and no program but Python.

`pytest -m unit` runs them. The mark is given by what a test asks for, so no test has to carry it.
"""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
#: The fixtures that start a server. Some tests ask for one by the name that a parameter holds.
SERVERS = frozenset({"seaweedfs", "ceph", "rclone", "ministack", "server", "any_server", "sides"})
#: Fixtures that mount a file system, which needs root, or that call openssl or Chromium.
MACHINE = frozenset({"disk", "small_disk", "tiny_disk", "certificate", "tls_files", "browser"})
#: Suites that start processes, take long, or need programs of the machine.
WHOLE = ("cli", "examples", "faults", "fuzz", "readme", "scale", "servers")


def mark_units(items: list[pytest.Item]) -> None:
    """Marks the unit tests among `items`."""
    for item in items:
        if is_unit(item):
            item.add_marker(pytest.mark.unit)


def sort_files(items: list[pytest.Item]) -> None:
    """Files with other than unit tests go first, and then those with most tests: no worker ends with a long file."""
    counts = Counter(item.path for item in items)
    whole = {item.path for item in items if not item.get_closest_marker("unit")}
    items.sort(key=lambda item: (item.path not in whole, -counts[item.path]))


def is_unit(item: pytest.Item) -> bool:
    """Whether a test needs nothing but Python and its packages, and is quick."""
    if item.get_closest_marker("slow") or _is_of_whole_suite(item.path):
        return False
    return not wanted(item) & (SERVERS | MACHINE)


@cache
def _is_of_whole_suite(file: Path) -> bool:
    return any(_HERE / name in file.parents for name in WHOLE)


def wanted(item: pytest.Item) -> set[str]:
    """The names of all fixtures that a test asks for, by itself, through others or by a parameter."""
    names = set(getattr(item, "fixturenames", ()))
    callspec = getattr(item, "callspec", None)
    return names | {value for value in callspec.params.values() if isinstance(value, str)} if callspec else names
