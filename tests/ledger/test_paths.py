import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import OutputError
from bulkpresign.ledger.paths import PathIndex


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=6), max_size=6))
def test_the_first_duplicate_path_is_found(batches: list[list[str]]) -> None:
    taken: dict[str, str] = {}
    with PathIndex() as index:
        for number, paths in enumerate(batches):
            rows = [(path, f"f{number}.csv:{line}") for line, path in enumerate(paths, 2)]
            expected = None
            for path, place in rows:
                if path in taken:
                    expected = (path, taken[path], place)
                    break
                taken[path] = place
            assert index.add(rows) == expected
            if expected:
                return


def test_similar_names_are_different() -> None:
    with PathIndex() as index:
        assert index.add([("\u00e9", "a:1"), ("e\u0301", "a:2"), ("A", "a:3"), ("a", "a:4")]) is None


@pytest.mark.parametrize(
    ("first", "second"), [("A/b", "a/B"), ("\u00e9", "E\u0301"), ("stra\u00dfe", "STRASSE"), ("\u03c3", "\u03c2")]
)
def test_where_case_is_ignored_names_that_differ_by_it_are_the_same(first: str, second: str) -> None:
    with PathIndex(ignores_case=True) as index:
        assert index.add([(first, "a:1"), ("other", "a:2")]) is None
        assert index.add([("c", "b:1"), (second, "b:2"), ("d", "b:3")]) == (second, "a:1", "b:2")


def test_a_full_disk_is_reported() -> None:
    index = PathIndex()
    index._database.execute("PRAGMA max_page_count = 3")
    with index, pytest.raises(OutputError, match="database or disk is full"):
        index.add([(f"{n:0100}", "a:1") for n in range(1000)])
    with pytest.raises(sqlite3.ProgrammingError):
        index._database.execute("SELECT 1")
