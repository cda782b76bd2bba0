"""Rows in the order of their keys: any input, again and again, in a temporary file."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import OutputError
from bulkpresign.tables.sorting import KeySorter

ROWS = st.lists(st.tuples(st.binary(max_size=4), st.integers(0, 9)))


@given(ROWS, st.booleans())
def test_rows_come_in_the_order_of_their_keys(rows: list[tuple[bytes, int]], is_sorted: bool) -> None:
    """Rows of one key keep their order; rows that were added in order come without sorting, to the same effect."""
    rows = sorted(rows) if is_sorted else rows
    with KeySorter(int) as sorter:
        for at in range(0, len(rows), 3):
            sorter.add(rows[at : at + 3])
        assert len(sorter) == len(rows)
        for _ in range(2):
            assert list(sorter) == sorted(rows, key=lambda row: row[0])


def test_keys_have_the_order_of_their_bytes() -> None:
    keys = [
        key.encode("utf-8", "surrogateescape")
        for key in ("a/b", "a-b", "a", "é", "z", "\U0001f600", "\ue000", "\udcff")
    ]
    with KeySorter(int) as sorter:
        sorter.add([(key, 0) for key in keys])
        assert [key for key, _ in sorter] == sorted(keys)


def test_a_file_that_can_not_be_used() -> None:
    with KeySorter(int) as sorter:
        sorter._database.execute("PRAGMA max_page_count=2")
        with pytest.raises(
            OutputError, match=r"the temporary file of rows can't be used: .*full; TMPDIR sets its folder"
        ):
            sorter.add([(b"%d" % number, number) for number in range(100_000)])


MEASURE = """
import re, sys
from pathlib import Path
from bulkpresign.proof.merge import merged
from bulkpresign.tables.sorting import KeySorter
count = int(sys.argv[1])
with KeySorter(int) as first, KeySorter(int) as second:
    for at in range(0, count, 1000):
        first.add([(b"folder/object-%09d" % number, number) for number in range(at, at + 1000)])
        second.add([(b"folder/object-%09d" % (number * 7919 % count), number) for number in range(at, at + 1000)])
    assert sum(one is not None and other is not None for _, one, other in merged(first, second)) == count
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_memory_is_flat_for_two_sides_of_a_million() -> None:
    """One side in order, the other one shuffled. Each has a cache of 8 MiB; sorting takes a second one."""
    peaks = []
    for count in (10_000, 1_000_000):
        command = [sys.executable, "-c", MEASURE, str(count)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout))
    assert peaks[1] - peaks[0] < 40 * 1024, peaks
