import csv
import io
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError
from bulkpresign.tables import Rows
from bulkpresign.tables.delimited import CsvBlock, csv_blocks, csv_cell, read_csv, read_csv_of
from tests.tables.blocks import block_size

CELLS = st.text(st.sampled_from('ab,"\n\r é;')) | st.text(st.characters(codec="utf-8"))
ROWS = st.lists(st.none() | st.tuples(CELLS, CELLS, CELLS), max_size=20)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv") / "keys.csv"


def rows_of(text: str, file: Path) -> list[tuple[int, list[str]]]:
    """Every row and its line."""
    file.write_bytes(text.encode())
    return [(line, list(row)) for rows in read_csv(str(file)) for line, row in zip(rows.lines, rows.cells, strict=True)]


@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n"]), last=st.booleans(), size=st.integers(1, 9))
def test_rows_and_lines_are_those_of_the_csv_module(
    file: Path, rows: list[tuple[str, ...] | None], end: str, last: bool, size: int
) -> None:
    lines = ["key,size,note", *(",".join(map(csv_cell, row)) if row else "" for row in rows)]
    text = end.join(lines) + (end if last else "")
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    next(reader)
    expected = []
    before = reader.line_num
    for row in reader:
        if any(row):
            expected.append((before + 1, row))
        before = reader.line_num
    with block_size(size):
        assert rows_of(text, file) == expected


@given(
    first=st.sampled_from(
        ["key,size,note\n", "sep=;\nkey;size;note\r\n", "\nbucket-1,key\n", "bucket-1,key,version\n"]
    ),
    lines=st.lists(
        st.sampled_from(["bucket-1,k,1", "b;c;d", "", "e,", "f,g,h,i", ",,", '"j",k', '"l\nm",n,o', '"p', "q\r"])
    ),
    last=st.booleans(),
    size=st.integers(1, 60),
)
@example(first="key,size,note\n", lines=["a,b,c"] * 9, last=False, size=20)
@example(first="bucket-1,key\n", lines=["bucket-1,k,1"] * 9, last=True, size=30)
def test_blocks_hold_the_same_rows(file: Path, first: str, lines: list[str], last: bool, size: int) -> None:
    file.write_text(first + "\n".join(lines) + "\n" * last, newline="")

    def split(blocks: Iterable[Rows | CsvBlock]) -> Iterator[Rows]:
        for block in blocks:
            if isinstance(block, CsvBlock):
                assert '"' not in block.text
                yield from msgspec.msgpack.decode(msgspec.msgpack.encode(block), type=CsvBlock).rows()
            else:
                yield block

    def result(batches: Iterable[Rows]) -> object:
        try:
            found = [(rows.columns, row) for rows in batches for row in zip(rows.lines, rows.cells, strict=True)]
        except ManifestError:
            return "an error"  # not the same one: the csv module finds a bad quote before the rows above it are checked
        return found

    with block_size(size):
        assert result(split(csv_blocks(str(file)))) == result(read_csv(str(file)))


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=20),
    quoted=st.lists(st.booleans() | st.just(True)),
    size=st.integers(1, 200),
)
@example(rows=[("a", "b\nc", "d"), ("e", "f", "g")], quoted=[], size=200)
@example(rows=[("a", 'b"', "d"), ("e", "f", "g,")], quoted=[], size=200)
@example(rows=[("a", "b", "c")] * 4, quoted=[True, False], size=8)
def test_rows_without_a_header_are_those_of_the_csv_module(
    file: Path, rows: list[tuple[str, ...]], quoted: list[bool], size: int
) -> None:
    """Most are quoted, as in inventories; some are not."""
    text = ""
    for row, is_quoted in zip(rows, chain([True], quoted, repeat(True)), strict=False):
        cells = [f'"{cell.replace(chr(34), chr(34) * 2)}"' if is_quoted else csv_cell(cell) for cell in row]
        text += f"{','.join(cells)}\n"
    file.write_bytes(text.encode())
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    expected, before = [], 0
    for parsed in reader:
        expected.append((before + 1, parsed))
        before = reader.line_num
    with block_size(size):
        batches = list(read_csv_of(str(file), ("a", "b", "c")))
    found = [(line, list(row)) for rows in batches for line, row in zip(rows.lines, rows.cells, strict=True)]
    assert found == expected


def test_a_row_of_another_length_is_an_error(file: Path) -> None:
    for text, line in (('"a","b"\n"c"\n', 2), ('"a","b"\n"c","d","e"\n"f"\n', 2), ('"a","b"\n"c","d","e"', 2)):
        file.write_text(text)
        with pytest.raises(ManifestError, match=rf"keys.csv:{line}: .*where 2 are expected"):
            list(read_csv_of(str(file), ("a", "b")))


@pytest.mark.parametrize("count", [511, 512, 513, 1500])
def test_batches_lose_no_row_and_no_line(file: Path, count: int) -> None:
    text = "key,note\n" + "".join(f'k{i},"{"x" if i % 7 else chr(10)}"\n' for i in range(count))
    found = rows_of(text, file)
    assert [row[0] for _, row in found] == [f"k{i}" for i in range(count)]
    assert [line for line, _ in found] == [i + 2 + -(-i // 7) for i in range(count)]


@given(cell=CELLS)
def test_cells_round_trip(cell: str) -> None:
    assert next(
        csv.reader([f"{csv_cell(cell)},x"], strict=True)
        if "\n" not in cell and "\r" not in cell
        else csv.reader(io.StringIO(f"{csv_cell(cell)},x", newline=""), strict=True)
    ) == [cell, "x"]


@given(rows=ROWS, count=st.integers(1, 3), more=st.lists(st.integers(0, 3)), size=st.integers(1, 200))
def test_empty_cells_at_the_end_of_rows_are_left_out(
    file: Path, rows: list[tuple[str, ...] | None], count: int, more: list[int], size: int
) -> None:
    """As a spreadsheet writes them, for columns and rows that were cleared."""
    plain = "\n".join(["key,size,note", *(",".join(map(csv_cell, row)) if row else "" for row in rows)])
    added = [f"key,size,note{',' * count}"]
    for row, commas in zip(rows, chain(more, repeat(count)), strict=False):
        added.append(",".join(map(csv_cell, row)) + "," * commas if row else "," * (count + 2))
    with block_size(size):
        assert rows_of("\n".join(added), file) == rows_of(plain, file)


def test_a_missing_value_that_is_alone_in_its_row_is_kept(file: Path) -> None:
    assert rows_of('key\na\n""\n\nb\n', file) == [(2, ["a"]), (3, [""]), (5, ["b"])]


def test_a_file_without_a_header(file: Path) -> None:
    assert rows_of("b-1,k\nb-2,l,v\n", file) == [(1, ["b-1", "k", ""]), (2, ["b-2", "l", "v"])]
    assert next(read_csv(str(file))).columns == ("bucket", "key", "version_id")


@pytest.mark.parametrize("start", ["", "\ufeff", "\n\r\n"])
def test_a_header_in_any_case_after_blank_lines(file: Path, start: str) -> None:
    file.write_text(f"{start} Key,BUCKET,Version ID,Note\na,b,v,c\n", newline="")
    assert next(read_csv(str(file))).columns == ("key", "bucket", "version_id", "Note")


@pytest.mark.parametrize("before", [0, 1, 511, 512, 1500])
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [100, 1 << 20])
def test_links_whose_last_path_is_cut_off_are_refused(
    size: int, end: str, quoted: bool, before: int, file: Path
) -> None:
    """A part of a path would be the name of another file."""
    url = '"http://h/k?a=1,2"' if quoted else "http://h/k"
    lines = ["key,url,path", *(f"p/d/{n},{url},d/{n}" for n in range(before))]
    with block_size(size):
        for key, path, is_cut in [
            ("p/d/last.txt", "d/last.tx", True),
            ("p/d/last.txt", "d/", True),
            ("p/d/last.txt", "d", True),
            ("p/d/last.txt", "p/d/l", True),
            ("p/d/last.txt", "d/last.txt", False),
            ("p/d/last.txt", "last.txt", False),
            ("p/d/last.txt", "p/d/last.txt", False),
            ("p/d/last.txt", "other", False),
            ("p/d/last.txt", "", False),
            ("d/d", "d", False),
        ]:
            text = end.join([*lines, f"{key},{url},{path}"])
            if is_cut:
                problem = f"the last row is cut off: '{path}' is not the end of key '{key}'"
                with pytest.raises(ManifestError, match=rf"keys\.csv:{before + 2}: column path: {problem}"):
                    rows_of(text, file)
            else:
                assert len(rows_of(text, file)) == before + 1
            assert rows_of(text + end, file)[-1][1][::2] == [key, path]


@pytest.mark.parametrize(
    "text",
    [
        "key,path\nd/last.txt,d/last",
        "key,url,path,note\nd/last.txt,http://h/k,d/last,x",
        "url,path,key\nhttp://h/k,d/last,d/last.txt",
        "url,path\nhttp://h/d/last.txt,d/last",
        "key,url,path\nd/last.txt,http://h/k,d/last,,",
    ],
)
def test_a_path_that_no_cut_can_have_shortened_is_valid(file: Path, text: str) -> None:
    assert len(rows_of(text, file)) == 1


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ("key,size\na,1\nb\n", 3, "size", "1 field where 2 are expected (key,size)"),
        ("key,size\n\na,1\nb,1,2\n", 4, None, "3 fields where 2 are expected (key,size)"),
        ("bucket-1,a\nbucket-1\n", 2, "key", "1 field where 3 are expected"),
        ("bucket-1,a\nbucket-1,b,c,d\n", 2, None, "4 fields where 3 are expected"),
        ('key,size\n"a\nb",1\nc,1\n"d,1\ne,1\nf,1\n', 5, None, "a quote is not closed"),
        ('key,size\na,1\n"' + "b,1\n" * 50_000, 3, None, "a quote is not closed"),
        ('key,size\n"a"b,1\n', 2, None, "something follows a closing quote"),
        ("key,size\na\rb,1\n", 2, None, "a carriage return without a line feed"),
        ("key,size,key\na,1,b\n", 1, "key", "the header has this column twice"),
        (
            "key," + ",".join(f"c{n}" for n in range(40_000)) + "\n",
            1,
            None,
            "40,001 columns; a table has at most 1,000",
        ),
        ("b-1," * 40_000 + "\n", 1, None, "40,001 columns; a table has at most 1,000"),
        ("name,Partner\nreport 1.pdf,ACME\n", 1, "bucket", "'name' looks like a column name, not a bucket"),
        ("File Name,Partner\na,b\n", 1, "bucket", "'File Name' can't be a bucket's name"),
        ("n\0a\0m\0e\0\n\0", 1, None, "UTF-16"),
        ("key;url\tkey\n", 1, None, "both with ';' and with tabs as separator"),
        ("sep=x\nkeyxsize\n", 1, None, "sep=x"),
        ("key,size,,\na,1,,\nb,1,,x\n", 3, None, "4 fields where 2 are expected (key,size)"),
        ("key,,size,\na,,1,\nb,1\n", 3, "size", "2 fields where 3 are expected"),
        ("key;size\na;1;2\n", 2, None, "3 fields where 2 are expected (key,size)"),
        ("\nkey,note,note\n", 2, "note", "the header has this column twice"),
        ("name\na\n", 1, "key", "a header needs a column key or url"),
        ("a,b,c,d\n", 1, "key", "a header needs a column key or url"),
        ("Reports for us,,\n,,\nsize,key,url\n1,a,\n", 1, None, "line 3 looks like the header: delete the lines above"),
        ("Reports;;\nsize;key;url\n", 1, None, "line 2 looks like the header: delete the lines above it"),
        ('"Our ""new"" reports"\nkey\n', 1, None, "line 2 looks like the header: delete the lines above it"),
        ('"b-1","k","","true"\n', 1, "key", "data files of an S3 Inventory are read through its manifest.json"),
        ("bucket,k" + "\0" * 3 + ",d,e\nb,a\n", 2, "d", "2 fields where 4"),
    ],
)
def test_errors_have_file_line_and_column(file: Path, text: str, line: int, column: str | None, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        rows_of(text, file)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert problem in caught.value.problem


@pytest.mark.parametrize("text", ["\n", "\r\n\n"])
def test_a_file_of_blank_lines_has_no_rows(file: Path, text: str) -> None:
    assert rows_of(text, file) == []


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize(
    "start", ["", "\n\r\n", "sep={}\n", '"sep={}"\r\n', "#TYPE System.Object\r\n", "SEP={}\n#type x\n"]
)
def test_rows_as_spreadsheets_write_them(file: Path, separator: str, quoted: bool, start: str) -> None:
    rows = [["Bucket", "key", "note, or;not\tso" if quoted else "note"], ["b-1", "k", "x"], ["b-2", "l", "ü y"]]
    lines = [separator.join(f'"{cell}"' if quoted else cell for cell in row) for row in rows]
    first = start.format(separator)
    found = rows_of(first + "\r\n".join(lines) + "\r\n", file)
    line = first.count("\n") + 2
    assert found == [(line, ["b-1", "k", "x"]), (line + 1, ["b-2", "l", "ü y"])]
    assert next(read_csv(str(file))).columns == ("bucket", "key", rows[0][2])


@pytest.mark.parametrize("other", [";", "\t", "|"])
def test_a_header_with_commas_is_split_at_commas(file: Path, other: str) -> None:
    assert rows_of(f"key,a{other}url\nx{other}y,1\n", file) == [(2, [f"x{other}y", "1"])]


def test_a_declared_separator_is_used(file: Path) -> None:
    assert rows_of("sep=|\nkey|a,url\nx,y|1\n", file) == [(3, ["x,y", "1"])]


def test_the_first_row_is_in_the_first_batch(file: Path) -> None:
    """Where a row is bad, none before it in the batch was passed on."""
    file.write_text("bucket-1,a\nbucket-1,b\n")
    assert [len(rows.cells) for rows in read_csv(str(file))] == [2]


def test_a_bucket_may_have_any_name_if_there_is_a_header(file: Path) -> None:
    assert rows_of("bucket,key\nname,Partner\n", file) == [(2, ["name", "Partner"])]


def test_the_first_row_may_have_an_empty_bucket(file: Path) -> None:
    assert rows_of(",a key\n,b\n", file) == [(1, ["", "a key", ""]), (2, ["", "b", ""])]


def test_a_row_without_end_does_not_fill_the_memory(file: Path) -> None:
    with file.open("w") as stream:
        stream.write("key,note\n")
        for _ in range(40):
            stream.write('"",' * 50_000 + '"\n",')
    with pytest.raises(ManifestError, match="a row of over 1 MiB") as caught:
        list(read_csv(str(file)))
    assert caught.value.line == 2


WHOLE_LINES = "a spreadsheet kept whole lines in one column: import the file with , as the separator of its columns"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('key,url,headers\n"a,http://h/a,""{""""x"""": """"1""""}"""\n', 2),
        ('key,url,headers\na,http://h/a,\n"b,http://h/b,"\n', 3),
        ('"key,url,headers"\n"a,http://h/a,"\n', 1),
        ('"key,url,headers"\n', 1),
        ('"bucket-1,a"\n', 1),
    ],
)
def test_whole_lines_in_one_column_are_told(text: str, line: int, file: Path) -> None:
    with pytest.raises(ManifestError) as raised:
        rows_of(text, file)
    assert (raised.value.line, raised.value.problem) == (line, WHOLE_LINES)


@pytest.mark.parametrize("text", ['key,url\n"a b"\n', 'key,url,size\n"a,b"\n', '"a"\n', "a\n", '"A text, too"\n'])
def test_another_row_of_one_field_is_not_taken_for_a_line(text: str, file: Path) -> None:
    with pytest.raises(ManifestError) as raised:
        rows_of(text, file)
    assert WHOLE_LINES not in raised.value.problem
