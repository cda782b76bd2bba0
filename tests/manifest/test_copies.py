"""The rows of copies: what is written is read again, and rows that are not valid are named."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.copies import CopyGrouper, LinkedCopy, copy_rows, target_links, with_target
from bulkpresign.manifest.groups import units_of
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import whole_rows
from bulkpresign.manifest.writing import link_writer
from bulkpresign.model import Link, ObjectRef, Upload
from bulkpresign.tables import Table, open_output
from bulkpresign.tables.rows import Rows, rows_of_mappings

Row = dict[str, object]
COLUMNS = ["dst_bucket", "dst_key", "dst_url", "dst_headers", "dst_method", "upload_id", "part_number", "offset"]


def row(method: str, size: object, query: str, **more: object) -> Row:
    source = {"bucket": "from", "key": "k", "url": "https://a/k?x=1", "headers": '{"a": "1"}', "etag": "e"}
    target = {"dst_bucket": "to", "dst_key": "t", "dst_url": f"https://b/t?{query}", "dst_method": method}
    return {**source, **target, "size": size, "upload_id": "u", "part_number": "", "offset": "", **more}


def upload_rows(sizes: Sequence[int] = (5, 5, 2)) -> list[Row]:
    parts = [
        row("PUT", size, f"partNumber={n}&uploadId=u", part_number=n, offset=sum(sizes[: n - 1]))
        for n, size in enumerate(sizes, 1)
    ]
    return [*parts, row("POST", sum(sizes), "uploadId=u"), row("DELETE", sum(sizes), "uploadId=u")]


def single(key: str = "one") -> Row:
    return {
        **dict.fromkeys(("upload_id", "dst_method", "part_number", "offset"), ""),
        "url": f"https://a/{key}",
        "dst_url": f"https://b/{key}",
    }


def rows_of(rows: Sequence[Row], first: int = 2) -> Rows:
    return rows_of_mappings("l.csv", rows, range(first, first + len(rows)))


def grouped(rows: Sequence[Row], batch: int = 1000) -> list[tuple[LinkedCopy, int]]:
    grouper = CopyGrouper("l.csv")
    found: list[tuple[LinkedCopy, int]] = []
    for at in range(0, len(rows), batch):
        some = rows_of(rows[at : at + batch], at + 2)
        found += grouper.add(links_of(some), some.lines)
    return [*found, *grouper.end()]


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_copies_come_in_their_order(batch: int) -> None:
    other = [{**row, "url": "https://a/other", "upload_id": "v"} for row in upload_rows((7,))]
    for row in other:
        row["dst_url"] = str(row["dst_url"]).replace("uploadId=u", "uploadId=v")
    found = grouped([single(), *upload_rows(), *other, single("last")], batch)
    assert [(copy.source.url, line) for copy, line in found] == [
        ("https://a/one", 2),
        ("https://a/k?x=1", 3),
        ("https://a/other", 8),
        ("https://a/last", 11),
    ]
    copy, upload = found[1][0], found[1][0].target
    assert (copy.source.object.size, copy.source.object.etag, copy.source.headers) == (12, "e", {"a": "1"})
    assert isinstance(upload, Upload)
    assert [(link.method, link.url) for link in upload.links] == [
        *(("PUT", f"https://b/t?partNumber={n}&uploadId=u") for n in (1, 2, 3)),
        *((method, "https://b/t?uploadId=u") for method in ("POST", "DELETE")),
    ]
    assert (upload.object.uri, upload.object.path) == ("s3://to/t", "https://b/t")
    assert isinstance(found[0][0].target, Link)


KEYS = st.text(st.sampled_from("ab/é ,'"), min_size=1, max_size=5)
HEADERS = st.dictionaries(st.sampled_from(["x-amz-meta-a", "content-type"]), st.sampled_from(["", "a,b", "é"]))


@given(
    sizes=st.lists(st.integers(1, 10**12), min_size=1, max_size=5),
    upload_id=st.text(st.sampled_from("aZ0.-_~"), min_size=1, max_size=5),
    keys=st.tuples(KEYS, KEYS),
    headers=st.tuples(HEADERS, HEADERS),
    is_aborted=st.booleans(),
    name=st.sampled_from(["m.csv", "m.jsonl", "m.parquet"]),
)
def test_rows_that_are_written_are_read_again(
    sizes: list[int],
    upload_id: str,
    keys: tuple[str, str],
    headers: tuple[dict[str, str], dict[str, str]],
    is_aborted: bool,
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Twice: a failed copy is written as it was read."""
    file = tmp_path_factory.getbasetemp() / f"copies {name}"
    ref = ObjectRef("from", keys[0], "v", sum(sizes), "e", "crc32c:AAAAAA==", path="p")
    source = Link("GET", "https://a/k?x=1", headers[0], None, ref)

    def target(method: str, size: int, number: int | None = None, offset: int | None = None) -> Link:
        extra = {"upload_id": upload_id, "part_number": number, "offset": offset}
        query = f"partNumber={number}&uploadId={upload_id}" if number else f"uploadId={upload_id}"
        return Link(method, f"https://b/t?{query}", headers[1], None, ObjectRef("to", keys[1], size=size, extra=extra))

    upload = [target("PUT", size, n + 1, sum(sizes[:n])) for n, size in enumerate(sizes)]
    upload += [target("POST", sum(sizes)), *([target("DELETE", sum(sizes))] if is_aborted else [])]
    ((first, _),) = written(file, copy_rows(source, upload))
    assert isinstance(first.target, Upload)
    ((copy, line),) = written(file, copy_rows(first.source, first.target.links))
    assert (line, copy) == (2 if name == "m.csv" else 1, first)
    assert msgspec.structs.replace(copy.source, object=ref) == source
    assert msgspec.structs.replace(copy.source.object, extra=None) == ref
    assert isinstance(copy.target, Upload)
    read = [(link.method, link.url, dict(link.headers), link.object.size) for link in copy.target.links]
    assert read == [(link.method, link.url, dict(link.headers), link.object.size) for link in upload]
    assert (copy.target.upload_id, copy.target.object.bucket, copy.target.object.key) == (upload_id, "to", keys[1])


def written(file: Path, rows: list[Link]) -> list[tuple[LinkedCopy, int]]:
    with open_output(str(file)) as output:
        writer = link_writer(output, str(file), file.suffix[1:], COLUMNS)
        writer.write(rows)
        writer.finish()
    grouper = CopyGrouper(str(file))
    return [
        *(found for some in Table(str(file)) for found in grouper.add(links_of(some), some.lines)),
        *grouper.end(),
    ]


Change = Callable[[list[Row]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(1), "l.csv:3: column part_number: part 2 is missing before part 3"),
        (lambda rows: rows.pop(3), "l.csv:2: column upload_id: the upload has no row that completes it (method POST)"),
        (lambda rows: rows[1].update(offset=6), "l.csv:3: column offset: part 2 starts at byte 6, not at 5"),
        (lambda rows: rows[3].update(size=13), "l.csv:5: column size: the parts have 12 bytes, the object 13"),
        (lambda rows: rows.insert(1, single()), "before line 3, where other rows start: the rows of an upload must be"),
        (lambda rows: rows.append(rows[3]), "l.csv:7: column dst_method: a second row that completes the upload"),
        (lambda rows: rows[1].update(dst_key="x"), "l.csv:3: column upload_id: s3://to/x is in the rows of the upload"),
        (
            lambda rows: rows[1].update(url="https://a/other"),
            "l.csv:3: column url: the upload of a copy of s3://from/k",
        ),
        (
            lambda rows: rows[1].update(key="other"),
            "l.csv:3: column url: the upload of a copy of s3://from/k",
        ),
        (lambda rows: rows[1].update(dst_url="https://b/t?uploadId=v"), "l.csv:3: column dst_url: uploadId in the url"),
        (lambda rows: rows[1].update(dst_url=""), "l.csv:3: the row has no dst_url: make one with sign --to"),
        (lambda rows: rows[1].update(dst_url="b/t"), "l.csv:3: column dst_url: 'b/t' is not an http"),
        (lambda rows: rows[1].update(dst_headers="[]"), "l.csv:3: column dst_headers: not a JSON object"),
        (lambda rows: rows[1].update(dst_method="X Y"), "l.csv:3: column dst_method: "),
        (lambda rows: rows[3].update(upload_id=""), "l.csv:5: column dst_method: a POST link where PUT links are"),
    ],
)
def test_rows_that_are_not_valid_are_reported_with_line_and_column(change: Change, message: str) -> None:
    rows = upload_rows()
    change(rows)
    with pytest.raises(ManifestError, match=re.escape(message)):
        grouped(rows)


def test_a_copy_in_parts_is_one_object() -> None:
    rows = rows_of([single(), *upload_rows(), single("last")])
    whole = whole_rows(rows)
    assert (whole.lines, whole.column("size")) == ([2, 6, 8], ["", 12, ""])
    assert not {"dst_method", "upload_id", "part_number", "offset"}.intersection(whole.columns)
    assert units_of(rows) == [[0], [1, 2, 3, 4, 5], [6]]


def test_a_copy_in_one_request_has_one_row() -> None:
    put = Link("PUT", "https://b/t", {"a": "1"}, None, ObjectRef("to", "t"))
    ref = with_target(ObjectRef("from", "k", size=3, extra={"note": "n"}), put)
    assert ref.extra == {
        "note": "n",
        "dst_bucket": "to",
        "dst_key": "t",
        "dst_url": "https://b/t",
        "dst_headers": {"a": "1"},
    }
    (found,) = target_links("l.csv", [Link("GET", "https://a/k", {}, None, ref)], [2])
    assert msgspec.structs.replace(found, object=put.object) == put
    assert (found.object.size, found.object.extra) == (3, None)
