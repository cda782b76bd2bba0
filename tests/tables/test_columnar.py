"""Parquet and ORC: what their columns become, in batches of any row groups, and files that can't be read."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.orc
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.tables import Table, open_output
from bulkpresign.tables.columnar import ParquetTable
from bulkpresign.tables.rows import BATCH_ROWS

WRITERS: dict[str, Callable[[Any, str], None]] = {
    "parquet": lambda table, file: pyarrow.parquet.write_table(table, file, row_group_size=700),
    "orc": lambda table, file: pyarrow.orc.write_table(table, file, stripe_size=1 << 14, batch_size=100),
}
both = pytest.mark.parametrize("format_", WRITERS)


def stored(folder: Path, format_: str, columns: dict[str, Any]) -> Table:
    file = str(folder / f"t.{format_}")
    WRITERS[format_](pyarrow.table(columns), file)
    return Table(file)


def cells(table: Table) -> list[tuple[Any, ...]]:
    return [tuple(row) for rows in table for row in rows.cells]


@both
def test_rows_are_numbered_and_come_in_batches(tmp_path: Path, format_: str) -> None:
    count = 5000
    table = stored(tmp_path, format_, {"key": [f"k{n}" for n in range(count)], "size": range(count)})
    assert table.columns == ("key", "size")
    batches = list(table)
    assert all(len(rows.cells) <= BATCH_ROWS for rows in batches)
    assert [line for rows in batches for line in rows.lines] == list(range(1, count + 1))
    assert cells(table) == [(f"k{n}", n) for n in range(count)]


@both
def test_values_are_as_other_tables_have_them(tmp_path: Path, format_: str) -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 999_000, UTC)
    columns = {
        "key": pyarrow.array(["a", None]),
        "bytes": pyarrow.array([b"\xc3\xbc", None]),
        "flag": pyarrow.array([True, None]),
        "time": pyarrow.array([moment, None], pyarrow.timestamp("ns")),
        "day": pyarrow.array([date(2026, 1, 31), None]),
        "money": pyarrow.array([Decimal("1.50"), None]),
        "list": pyarrow.array([[1, 2], None]),
        "map": pyarrow.array([[("a", "b")], None], pyarrow.map_(pyarrow.string(), pyarrow.string())),
    }
    table = stored(tmp_path, format_, columns)
    expected = ("a", "ü", True, "2026-01-31T12:00:00Z", "2026-01-31", "1.50", [1, 2], {"a": "b"})
    assert cells(table) == [expected, ("",) * len(columns)]


def test_times_with_a_zone_are_converted(tmp_path: Path) -> None:
    zone = timezone(timedelta(hours=2))
    column = pyarrow.array([datetime(2026, 1, 31, 14, tzinfo=zone)], pyarrow.timestamp("ms", "+02:00"))
    table = stored(tmp_path, "parquet", {"key": ["a"], "last_modified": column})
    assert cells(table) == [("a", "2026-01-31T12:00:00Z")]


@both
def test_names_are_read_as_other_tools_spell_them(tmp_path: Path, format_: str) -> None:
    table = stored(tmp_path, format_, {"Bucket": ["b"], "KEY": ["a"], "e_tag": ["e"], "SSE": ["s"], "Note": ["n"]})
    assert table.columns == ("bucket", "key", "etag", "sse", "Note")
    with pytest.raises(ManifestError, match="column key: the file has this column twice"):
        _ = stored(tmp_path, format_, {"Key": ["b"], "key": ["a"]}).columns


@both
def test_an_empty_table_has_its_columns(tmp_path: Path, format_: str) -> None:
    table = stored(tmp_path, format_, {"key": pyarrow.array([], pyarrow.string())})
    assert (table.columns, cells(table)) == (("key",), [])


@both
def test_a_date_that_can_not_be_read_is_told_with_its_column(tmp_path: Path, format_: str) -> None:
    """As databases write infinity."""
    days = pyarrow.array([0, 106_751_991], pyarrow.int32()).cast(pyarrow.date32())
    for column in (days, pyarrow.array([[day] for day in days], pyarrow.list_(pyarrow.date32()))):
        with pytest.raises(ManifestError, match=rf"t.{format_}: column until: a value can't be read: date value out"):
            list(stored(tmp_path, format_, {"key": ["a", "b"], "until": column}))


@both
def test_bytes_that_are_no_text_are_told_with_their_column(tmp_path: Path, format_: str) -> None:
    table = stored(tmp_path, format_, {"key": ["a", "b"], "digest": [b"ok", b"\x89PNG"]})
    with pytest.raises(ManifestError) as caught:
        list(table)
    assert str(caught.value) == (
        f"{table.file}: column digest: byte 0x89 is not UTF-8, and a column of type binary is read as text: "
        "write the file without this column"
    )


@both
def test_files_that_can_not_be_read(tmp_path: Path, format_: str) -> None:
    name = {"parquet": "Parquet", "orc": "ORC"}[format_]
    file = Path(stored(tmp_path, format_, {"key": [f"k{n}" * 10 for n in range(2000)]}).file)
    whole = file.read_bytes()
    for data in (b"", b"PAR1", whole[:-20], whole[:4] + bytes(200) + whole[204:]):
        file.write_bytes(data)
        with pytest.raises(ManifestError, match=rf"t.{format_}: not a whole {name} file: ."):
            list(Table(str(file)))
    file.unlink()
    with pytest.raises(ManifestError, match=rf"t.{format_}: no such file"):
        list(Table(str(file)))
    file.mkdir()
    with pytest.raises(ManifestError, match=rf"t.{format_}: "):
        list(Table(str(file)))


@both
def test_a_stream_is_refused(tmp_path: Path, format_: str) -> None:
    os.mkfifo(tmp_path / f"pipe.{format_}")
    for table in (Table("-", format_), Table(str(tmp_path / f"pipe.{format_}"))):
        with pytest.raises(ManifestError, match=f"{format_} is not read from a stream"):
            _ = table.columns


@both
def test_without_pyarrow_the_extra_is_named(tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = stored(tmp_path, format_, {"key": ["a"]})
    monkeypatch.setitem(sys.modules, f"pyarrow.{format_}", None)
    words = "need pyarrow .*: install bulkpresign with the extra parquet"
    with pytest.raises(ManifestError, match=words):
        list(table)
    if format_ == "parquet":
        with open_output("/dev/null") as output, pytest.raises(ParameterError, match=words):
            ParquetTable(output)


def test_too_many_columns(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="1,001 columns; a table has at most 1,000"):
        _ = stored(tmp_path, "parquet", {f"c{n}": ["a"] for n in range(1001)}).columns


@given(st.lists(st.integers(1, 40), max_size=6), st.integers(1, 40))
def test_row_groups_hold_many_batches(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], group: int) -> None:
    file = tmp_path_factory.mktemp("groups") / "t.parquet"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("bulkpresign.tables.columnar._GROUP_ROWS", group)
        with open_output(str(file)) as output:
            table = ParquetTable(output)
            table.header(["key", "size", "note"])
            for size in sizes:
                table.rows({"key": [f"{n}" for n in range(size)], "size": range(size), "other": [{}] * size})
            table.finish()
    assert cells(Table(str(file))) == [(f"{n}", n, "") for size in sizes for n in range(size)]
    groups = pyarrow.parquet.ParquetFile(file).metadata
    written = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
    assert all(count >= group for count in written[:-1])
