"""The rows of multipart uploads: valid groups, and the errors of invalid ones."""

import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import UploadGrouper, whole_rows
from bulkpresign.model import Link, Upload
from bulkpresign.tables.rows import Rows, rows_of_mappings

Row = dict[str, object]


def row(method: str, size: object = "", number: object = "", offset: object = "", **more: object) -> Row:
    upload_id = more.pop("upload_id", "u")
    query = f"partNumber={number}&uploadId={upload_id}" if method == "PUT" else f"uploadId={upload_id}"
    url = f"https://h/k?{query}"
    columns = {"upload_id": upload_id, "part_number": number, "offset": offset}
    return {"bucket": "bucket", "key": "k", "method": method, "url": url, "size": size, **columns, **more}


def upload_rows(sizes: Sequence[int] = (5, 5, 2), **more: object) -> list[Row]:
    parts = [row("PUT", size, n + 1, sum(sizes[:n]), **more) for n, size in enumerate(sizes)]
    return [*parts, row("POST", sum(sizes), **more), row("DELETE", sum(sizes), **more)]


def single(key: str = "one") -> Row:
    return {"bucket": "bucket", "key": key, "method": "PUT", "url": "https://h/one", "upload_id": ""}


def rows_of(rows: Sequence[Row], first: int = 2) -> Rows:
    return rows_of_mappings("l.csv", rows, range(first, first + len(rows)))


def gathered(rows: Sequence[Row], batch: int = 1000) -> list[tuple[Link | Upload, int]]:
    gathering = UploadGrouper("l.csv")
    found: list[tuple[Link | Upload, int]] = []
    for at in range(0, len(rows), batch):
        some = rows_of(rows[at : at + batch], at + 2)
        found += gathering.add(links_of(some), some.lines)
    return [*found, *gathering.end()]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_uploads_and_single_links_come_in_their_order(batch: int) -> None:
    rows = [
        single(),
        *upload_rows(upload_id="a", key="a"),
        *upload_rows((7,), upload_id="b", key="b"),
        single("last"),
        *upload_rows(upload_id="c", key="c"),
    ]
    found = gathered(rows, batch)
    assert [(one.object.key, line) for one, line in found] == [("one", 2), ("a", 3), ("b", 8), ("last", 11), ("c", 12)]
    upload = found[1][0]
    assert isinstance(upload, Upload)
    assert (upload.object.size, upload.upload_id) == (12, "a")
    assert [(part.number, part.offset, part.size) for part in upload.parts] == [(1, 0, 5), (2, 5, 5), (3, 10, 2)]
    assert [link.method for link in upload.links] == ["PUT", "PUT", "PUT", "POST", "DELETE"]


@given(st.permutations(range(5)))
def test_the_rows_of_a_group_may_be_in_any_order(order: list[int]) -> None:
    rows = upload_rows()
    ((upload, _),) = gathered([rows[n] for n in order])
    assert isinstance(upload, Upload)
    assert [part.offset for part in upload.parts] == [0, 5, 10]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.booleans(), st.booleans())
def test_numbers_in_json(sizes: list[int], as_text: bool, as_float: bool) -> None:
    """pandas makes floats of all numbers of a column, as the last rows have no part number."""
    rows = upload_rows(sizes)
    if as_float:
        rows = [{name: float(value) if type(value) is int else value for name, value in row.items()} for row in rows]
    if as_text:
        rows = [{name: str(value) for name, value in row.items()} for row in rows]
    ((upload, _),) = gathered(rows)
    assert isinstance(upload, Upload)
    assert [part.size for part in upload.parts] == sizes


Change = Callable[[list[Row]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(1), "l.csv:3: column part_number: part 2 is missing before part 3"),
        (lambda rows: rows.pop(0), "l.csv:2: column part_number: part 1 is missing before part 2"),
        (
            lambda rows: rows.insert(2, rows[1]),
            "l.csv:4: column part_number: part 2 is there twice, the first on line 3",
        ),
        (lambda rows: rows.pop(3), "l.csv:2: column upload_id: the upload has no row that completes it (method POST)"),
        (lambda rows: rows.append(rows[3]), "l.csv:7: column method: a second row that completes the upload"),
        (lambda rows: rows.append(rows[4]), "l.csv:7: column method: a second row that aborts the upload"),
        (lambda rows: rows[1].update(offset=6), "l.csv:3: column offset: part 2 starts at byte 6, not at 5"),
        (lambda rows: rows[3].update(size=13), "l.csv:5: column size: the parts have 12 bytes, the object 13"),
        (lambda rows: rows[3].update(size=""), "l.csv:5: column size: the row that completes an upload needs"),
        (lambda rows: rows[2].update(size=""), "l.csv:4: column size: a part needs its size"),
        (lambda rows: rows[1].update(part_number="x"), "l.csv:3: column part_number: 'x' is not a number"),
        (lambda rows: rows[1].update(part_number=-1), "l.csv:3: column part_number: '-1' is not a number"),
        (lambda rows: rows[1].update(offset=""), "l.csv:3: column offset: '' is not a number"),
        (lambda rows: rows[1].update(method="GET"), "l.csv:3: column method: a row of an upload can't have method GET"),
        (lambda rows: rows[1].update(key="other"), "l.csv:3: column upload_id: s3://bucket/other is in the rows of"),
        (lambda rows: rows[1].update(path="other"), "l.csv:3: column upload_id: s3://bucket/k is in the rows of"),
        (
            lambda rows: rows[1].update(upload_id="v"),
            "l.csv:2: column upload_id: the upload has no row that completes it (method POST) before line 3",
        ),
        (lambda rows: rows.__delitem__(slice(3)), "l.csv:2: column upload_id: the upload has no parts"),
        (
            lambda rows: rows[0].update(part_number=0, url="https://h/k?partNumber=0&uploadId=u"),
            "l.csv:2: column part_number: part 1 is missing before part 0",
        ),
        (lambda rows: rows[4].update(url="https://h/k"), "l.csv:6: column url: the url must have uploadId once"),
        (lambda rows: rows[4].update(url="https://h/k?uploadId=v"), "l.csv:6: column url: uploadId in the url is not"),
        (lambda rows: rows[3].update(url="https://h/k#?uploadId=u"), "l.csv:5: column url: the url must have uploadId"),
        (
            lambda rows: rows[3].update(url="https://h/k?uploadId=u&uploadId=u"),
            "l.csv:5: column url: the url must have uploadId once",
        ),
        (
            lambda rows: rows[1].update(url="https://h/k?partNumber=1&uploadId=u"),
            "l.csv:3: column url: partNumber in the url is not",
        ),
        (
            lambda rows: rows[1].update(url="https://h/k?uploadId=u"),
            "l.csv:3: column url: the url must have partNumber",
        ),
        (
            lambda rows: rows[1].update(url="https://h/k?partNumber=2&uploadId=v"),
            "l.csv:3: column url: uploadId in the url is not",
        ),
    ],
)
def test_invalid_uploads_are_reported_with_line_and_column(change: Change, message: str) -> None:
    rows = upload_rows()
    change(rows)
    with pytest.raises(ManifestError, match=re.escape(message)):
        gathered(rows)


def test_each_object_has_one_row() -> None:
    rows = [single(), *upload_rows(), single("last")]
    found = whole_rows(rows_of(rows))
    assert found.column("key") == ["one", "k", "last"]
    assert found.lines == [2, 6, 8]
    assert not {"upload_id", "part_number", "offset"}.intersection(found.columns)
    plain = rows_of([{"key": "a"}])
    assert whole_rows(plain) is plain


def test_an_upload_id_is_quoted_in_urls() -> None:
    rows = upload_rows((3,), upload_id="2~a+b c=")
    for one in rows:
        one["url"] = str(one["url"]).replace("2~a+b c=", "2~a%2Bb%20c%3D")
    ((upload, _),) = gathered(rows)
    assert isinstance(upload, Upload)
    assert upload.upload_id == "2~a+b c="


def test_no_message_shows_the_query() -> None:
    rows = upload_rows()
    rows[4]["url"] = "https://h/k?uploadId=v&X-Amz-Signature=5ec2e7"
    with pytest.raises(ManifestError) as caught:
        gathered(rows)
    assert "5ec2e7" not in str(caught.value)
