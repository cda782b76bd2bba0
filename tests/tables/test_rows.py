"""Rows in batches, and rows of mappings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError
from bulkpresign.tables.rows import BATCH_LENGTH, BATCH_ROWS, MAX_COLUMNS, batched, mapping_of_text, rows_of_mappings


@given(st.lists(st.sampled_from([0, 1, BATCH_LENGTH // 3, BATCH_LENGTH]), max_size=1500))
def test_batches_have_all_items_and_are_bounded(lengths: list[int]) -> None:
    items = [(number, length, length) for number, length in enumerate(lengths)]
    batches = list(batched(items))
    assert [line for lines, _ in batches for line in lines] == list(range(len(lengths)))
    assert [value for _, values in batches for value in values] == lengths
    for lines, values in batches:
        assert 0 < len(lines) == len(values) <= BATCH_ROWS
        assert sum(values[:-1]) < BATCH_LENGTH


def test_mappings_share_the_union_of_their_names() -> None:
    rows = rows_of_mappings("a.json", [{"key": "a", "note": None}, {"key": "b", "more": [1]}], [1, 2])
    assert rows.columns == ("key", "note", "more")
    assert rows.cells == [["a", "", ""], ["b", "", [1]]]
    assert rows.column("more") == ["", [1]]
    assert rows.column("missing") is None


def test_names_are_read_as_other_tools_spell_them() -> None:
    """A VersionId that is only carried along would give a link to another version."""
    row = {
        "Key": "a",
        "VersionId": "v",
        "ETag": "e",
        "Size": 1,
        "LastModified": "t",
        "StorageClass": "S",
        "part size": 2,
    }
    columns = ("key", "version_id", "etag", "size", "last_modified", "StorageClass", "part size")
    assert rows_of_mappings("a.json", [row], [1]).columns == columns
    with pytest.raises(ManifestError, match=r"a\.json:4: column etag: the column is there twice: as e_tag and as ETag"):
        rows_of_mappings("a.json", [{"key": "a", "e_tag": "e"}, {"ETag": "e"}], [4, 5])


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("Filename", "filename"),
        ("SSE", "sse"),
        ("If None Match", "if_none_match"),
        ("Response-Content-Type", "response_content_type"),
        ("CacheControl", "cache_control"),
        ("Region", "region"),
        ("Expires In", "expires_in"),
        ("storage_class", "storage_class"),
        ("Storage Class", "Storage Class"),  # listings give the class of existing objects so
    ],
)
def test_options_are_read_in_any_spelling(spelled: str, name: str) -> None:
    """An If-None-Match that is only carried along would give a link that overwrites."""
    assert rows_of_mappings("a.json", [{"key": "a", spelled: "x"}], [1]).columns == ("key", name)


def test_too_many_columns_are_told_with_the_line() -> None:
    half = MAX_COLUMNS // 2
    mappings = [{f"{row}-{n}": "x" for n in range(half)} for row in range(4)]
    with pytest.raises(ManifestError, match=r"a\.json:5: over 1,000 columns"):
        rows_of_mappings("a.json", mappings, [3, 4, 5, 6])


def test_a_value_that_is_nested_too_deep_is_told_with_the_line() -> None:
    deep: object = "x"
    for _ in range(40):
        deep = [deep]
    with pytest.raises(ManifestError, match=r"a\.json:2: column note: the value is nested more than 32 levels deep"):
        rows_of_mappings("a.json", [{"key": "a", "note": [1]}, {"key": "b", "note": deep}], [1, 2])


def test_one_line_of_text() -> None:
    assert mapping_of_text("a.txt", 1, "https://h/a?b") == {"url": "https://h/a?b"}
    assert mapping_of_text("a.txt", 1, "s3://b/a//c ") == {"bucket": "b", "key": "a//c "}
    assert mapping_of_text("a.txt", 1, "ftp://h/a") == {"key": "ftp://h/a"}


@pytest.mark.parametrize(
    ("uri", "missing"), [("s3://", "bucket"), ("s3:///k", "bucket"), ("s3://b", "key"), ("s3://b/", "key")]
)
def test_a_uri_that_is_not_whole(uri: str, missing: str) -> None:
    with pytest.raises(ManifestError, match=f"a.txt:7: column {missing}: .* has no {missing}"):
        mapping_of_text("a.txt", 7, uri)
