import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError
from bulkpresign.tables.documents import read_json, read_jsonl
from bulkpresign.tables.rows import Rows
from tests.tables.blocks import block_size

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
ITEMS = st.lists(st.fixed_dictionaries({"key": TEXT}, optional={"note": VALUES, "é\n": VALUES}), max_size=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json")


def mappings(batches: list[Rows]) -> list[dict[str, Any]]:
    return [dict(zip(rows.columns, row, strict=True)) for rows in batches for row in rows.cells]


def known(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in item.items() if value != ""} for item in items]


@given(items=ITEMS, size=st.integers(1, 9), indent=st.sampled_from([None, 2]), ascii_only=st.booleans())
def test_a_list_is_read_as_json_loads_does_wherever_blocks_are_cut(
    folder: Path, items: list[dict[str, Any]], size: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)
    file = folder / "items.json"
    file.write_text(text)
    with block_size(size):
        batches = list(read_json(str(file)))
    assert known(mappings(batches)) == known(json.loads(text))
    if indent is not None:
        starts = [line for rows in batches for line in rows.lines]
        assert starts == [number for number, line in enumerate(text.split("\n"), 1) if line.startswith("  {")]


@given(items=ITEMS.filter(len), size=st.integers(1, 9), indent=st.sampled_from([None, 2]), end=st.sampled_from("\n "))
def test_objects_without_a_list_are_read_one_after_another(
    folder: Path, items: list[dict[str, Any]], size: int, indent: int | None, end: str
) -> None:
    """As jq, DuckDB and Spark write them to `.json`."""
    texts = [json.dumps(item, indent=indent) + end for item in items]
    file = folder / "consecutive.json"
    file.write_text("".join(texts))
    with block_size(size):
        batches = list(read_json(str(file)))
    assert known(mappings(batches)) == known(items)
    starts = [1 + "".join(texts[:index]).count("\n") for index in range(len(texts))]
    assert [line for rows in batches for line in rows.lines] == starts


@given(items=ITEMS)
def test_lines_are_read_as_json_loads_does(folder: Path, items: list[dict[str, Any]]) -> None:
    file = folder / "items.jsonl"
    file.write_text("\n \r\n" + "".join(json.dumps(item) + "\r\n\n" for item in items))
    batches = list(read_jsonl(str(file)))
    assert known(mappings(batches)) == known(items)
    assert [line for rows in batches for line in rows.lines] == [3 + 2 * i for i in range(len(items))]


def test_strings_are_keys_uris_and_links(folder: Path) -> None:
    file = folder / "strings.json"
    file.write_text('["a/b", "s3://bucket/k/l", "https://h/x?y", {"key": "c"}]')
    (rows,) = read_json(str(file))
    assert known(mappings([rows])) == [
        {"key": "a/b"},
        {"bucket": "bucket", "key": "k/l"},
        {"url": "https://h/x?y"},
        {"key": "c"},
    ]


def test_a_list_on_one_line_longer_than_any_line_may_be(folder: Path) -> None:
    file = folder / "minified.json"
    count = 300_000
    file.write_text(json.dumps([{"key": f"{i:060}"} for i in range(count)]))
    assert file.stat().st_size > 17 << 20
    assert sum(len(rows.cells) for rows in read_json(str(file))) == count


WHOLE = '[\n {"key": "a"},\n {"key": "\\u00e9\\n", "size": 12},\n "c"\n]'


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_a_list_cut_off_anywhere_is_an_error(folder: Path, length: int) -> None:
    file = folder / "cut.json"
    file.write_text(WHOLE[:length])
    with pytest.raises(ManifestError) as caught:
        list(read_json(str(file)))
    assert caught.value.line is not None
    assert abs(caught.value.line - WHOLE.count("\n", 0, length) - 1) <= 1
    assert any(words in caught.value.problem for words in ("ends in the middle", "is expected", "Expecting", "escape"))


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('{"key": "a"},\n{"key": "b"}', 1, "not JSON: Expecting value"),
        ('{"key": "a"}\n["b"]', 2, "an object or a string is expected, not ["),
        ('{"key": "a"}\n{"key": "b"', 2, "not JSON: it ends in the middle of a value"),
        ("\n\n3", 3, "a list of objects is expected"),
        (" \n", 2, "a list of objects is expected"),
        ("null\n[]", 2, "a list of objects is expected"),
        ("nil", 1, "not JSON"),
        ('["a",\n3]', 2, "an object or a string is expected, not 3"),
        ('["a",\n\nnull]', 3, "an object or a string is expected, not null"),
        ('["a"\n"b"]', 2, "',' or ']' is expected"),
        ('["a",\n]', 2, "not JSON"),
        ('["a"]\n["b"]', 2, "something follows the list"),
        ('["a",\n{"key": tru}]', 2, "not JSON: Expecting value"),
        ('["a",\n {"key": "\\ud800"}]', 2, "half of a surrogate pair"),
        ('["a",\n' + "[" * 100_000, 2, "this JSON can't be read"),
        ('["a",\n{"size": ' + "1" * 5000 + "}]", 2, "this JSON can't be read"),
        ('["a",\n"s3:///k"]', 2, "has no bucket"),
        ('["a",\n"' + "x" * (9 << 20) + '"]', 2, "one value of over 4 MiB"),
        ('["a",\n{"key": "' + "x" * (9 << 20), 2, "one value of over 4 MiB"),
        ('["a",\n{"key": ' + "1, " * (3 << 20), 2, "not JSON: Expecting property name"),
        ('["a",\n{"key": "b", "n": ' + "[" * 40 + "]" * 40 + "}]", 2, "nested more than 32 levels deep"),
        (
            '["a",\n' + ", ".join(f'{{"key": "b", "c{n}": 1, "d{n}": 2}}' for n in range(512)) + "]",
            2,
            "over 1,000 columns",
        ),
    ],
)
def test_errors_in_a_list_have_a_line(folder: Path, text: str, line: int, problem: str) -> None:
    file = folder / "wrong.json"
    file.write_text(text)
    with pytest.raises(ManifestError) as caught:
        list(read_json(str(file)))
    assert caught.value.line == line
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"key": "b"', "not JSON"),
        ('{"key": "b"} x', "not JSON"),
        ("3", "an object or a string is expected, not 3"),
        ('["b"]', 'an object or a string is expected, not ["b"]'),
        ('{"key": "\\ud800"}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"key": "b", "n": ' + "[" * 40 + "]" * 40 + "}", "nested more than 32 levels deep"),
        ("{" + ", ".join(f'"c{n}": 1' for n in range(1001)) + "}", "over 1,000 columns"),
    ],
)
def test_errors_in_a_line_have_a_line_number(folder: Path, text: str, problem: str) -> None:
    file = folder / "wrong.jsonl"
    file.write_text(f'{{"key": "a"}}\n\n{text}\n')
    with pytest.raises(ManifestError) as caught:
        list(read_jsonl(str(file)))
    assert caught.value.line == 3
    assert problem in caught.value.problem


def test_text_that_opens_brackets_is_not_nested(folder: Path) -> None:
    for name in ("brackets.jsonl", "brackets.json"):
        file = folder / name
        file.write_text('{"key": "%s"}' % ("[" * 100) if "jsonl" in name else '[{"key": "%s"}]' % ("[" * 100))
        read = read_jsonl if "jsonl" in name else read_json
        assert mappings(list(read(str(file)))) == [{"key": "[" * 100}]


def test_null_is_a_list_without_objects(folder: Path) -> None:
    """As `aws --query Contents` prints that of an empty prefix."""
    (folder / "a.json").write_text("null\n")
    assert list(read_json(str(folder / "a.json"))) == []


def test_large_values_come_in_small_batches(folder: Path) -> None:
    for name, read in (("large.jsonl", read_jsonl), ("large.json", read_json)):
        lines = [json.dumps({"key": f"{n}", "note": "x" * (1 << 19)}) for n in range(100)]
        (folder / name).write_text("\n".join(lines) if "jsonl" in name else f"[{','.join(lines)}]")
        batches = [len(rows.cells) for rows in read(str(folder / name))]
        assert sum(batches) == 100
        assert max(batches) <= 32
