"""The rows of an upload stay together, in batches of any size."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.manifest.groups import heads_of, in_whole_uploads, units_of
from bulkpresign.tables.rows import Rows

COLUMNS = ("key", "upload_id", "method")


def rows(cells: list[list[str]], first: int = 2) -> Rows:
    return Rows("l.csv", COLUMNS, cells, range(first, first + len(cells)))


@given(st.lists(st.sampled_from(["", "u", "v"]), max_size=30), st.lists(st.integers(0, 9), min_size=1))
def test_no_upload_is_in_two_batches(ids: list[str], sizes: list[int]) -> None:
    cells = [[str(number), upload_id, "PUT"] for number, upload_id in enumerate(ids)]
    batches, at = [], 0
    for size in [*sizes, len(cells)]:
        batches.append(rows(cells[at : at + size], at + 2))
        at += size
    found = list(in_whole_uploads(iter(batches)))
    assert [row for batch in found for row in batch.cells] == cells
    assert [line for batch in found for line in batch.lines] == list(range(2, len(cells) + 2))
    filled = [batch for batch in found if batch.cells]
    for before, after in pairwise(filled):
        assert not before.cells[-1][1] or before.cells[-1][1] != after.cells[0][1]


def test_the_row_that_completes_an_upload_stands_for_it() -> None:
    cells = [["a", "", "PUT"], ["b", "u", "PUT"], ["b", "u", "post"], ["b", "u", "DELETE"], ["c", "v", "PUT"]]
    assert list(heads_of(rows(cells))) == [0, 2, 2, 2, 4]
    assert units_of(rows(cells)) == [[0], [1, 2, 3], [4]]


def test_batches_with_other_columns_are_joined() -> None:
    first = Rows("l.jsonl", ("key", "upload_id"), [["a", "u"]], [1])
    second = Rows("l.jsonl", ("upload_id", "key", "note"), [["u", "a", "n"]], [2])
    (found,) = in_whole_uploads(iter([first, second]))
    assert (found.columns, found.cells) == (("key", "upload_id", "note"), [["a", "u", ""], ["a", "u", "n"]])
