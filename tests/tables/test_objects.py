from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from bulkpresign.checksums.sources import part_size_of_row
from bulkpresign.errors import ManifestError
from bulkpresign.manifest.links import names_of
from bulkpresign.model import ObjectRef
from bulkpresign.tables import Table, objects_of


def read(file: Path, text: str, bucket: str | None = None) -> list[ObjectRef]:
    file.write_text(text, newline="")
    return [ref for rows in Table(str(file)) for ref in objects_of(rows, bucket)]


def test_every_column_becomes_a_field(tmp_path: Path) -> None:
    header = "path,content_type,checksum,etag,size,version_id,key,bucket,note,empty"
    (ref,) = read(tmp_path / "a.csv", f'{header}\np/q,text/x,crc32c:AAAAAA==,"""e""",12,v,k,b-1,n,\n')
    assert ref == ObjectRef("b-1", "k", "v", 12, "e", "crc32c:AAAAAA==", "text/x", "p/q", {"note": "n"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"key": "s3://b-2/k/l.txt", "size": 12}\n{"key": "m"}\n'),
        ("a.csv", "size,key\n12,s3://b-2/k/l.txt\n,m\n"),
    ],
)
def test_a_key_is_a_uri_if_no_column_has_the_bucket(tmp_path: Path, name: str, text: str) -> None:
    """As s5cmd lists objects. `--bucket` is for rows without one."""
    assert read(tmp_path / name, text, "b-1") == [ObjectRef("b-2", "k/l.txt", size=12), ObjectRef("b-1", "m")]
    (rows,) = (rows for rows in Table(str(tmp_path / name)) if rows.cells)
    assert names_of(rows) == ["k/l.txt", "m"]


def test_a_key_that_looks_like_a_uri_has_its_bucket_beside_it(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "bucket,key\nb-1,s3://b-2/k\n") == [ObjectRef("b-1", "s3://b-2/k")]


def test_missing_values_are_none(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "key,bucket,size,etag\nk,,,\nl,b-2,0,\n", "b-1") == [
        ObjectRef("b-1", "k"),
        ObjectRef("b-2", "l", size=0),
    ]
    assert read(
        tmp_path / "a.jsonl", '{"key": "k", "size": null, "n": null}\n{"key": "l", "size": 3, "n": 0}', "b-1"
    ) == [
        ObjectRef("b-1", "k"),
        ObjectRef("b-1", "l", size=3, extra={"n": 0}),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "key,size,part_size\nk,12.0,5242880.0\nl,,\n"),
        ("a.jsonl", '{"key": "k", "size": 12.0, "part_size": 5242880.0}\n{"key": "l", "size": null}'),
    ],
)
def test_whole_numbers_as_pandas_writes_them(tmp_path: Path, name: str, text: str) -> None:
    """A column of numbers in which one is missing has all of them with a point."""
    first, second = read(tmp_path / name, text, "b-1")
    assert (first.size, second) == (12, ObjectRef("b-1", "l"))
    assert part_size_of_row(first) == 5242880


@pytest.mark.parametrize(
    ("cell", "checksum"),
    [
        (f"sha256:{sha256(b'a').hexdigest()}", f"sha256:{b64encode(sha256(b'a').digest()).decode()}"),
        (f"md5:{'0F' * 16}", "md5:Dw8PDw8PDw8PDw8PDw8PDw=="),
        ("crc32:deadbeef", "crc32:3q2+7w=="),
        ("crc32:3q2+7w==", "crc32:3q2+7w=="),
        ("crc32:3q2+7w==-2", "crc32:3q2+7w==-2"),
        ("", None),
    ],
)
def test_a_checksum_in_hex_as_sha256sum_prints_it(tmp_path: Path, cell: str, checksum: str | None) -> None:
    (ref,) = read(tmp_path / "a.csv", f"key,checksum\nk,{cell}\n", "b-1")
    assert ref.checksum == checksum


@pytest.mark.parametrize(
    ("name", "text", "column", "problem"),
    [
        ("a.csv", "key\nok\na\0b\n", "key", "the key has a NUL character"),
        ("a.csv", f"key\nok\n{'x' * 1025}\n", "key", "the key has 1,025 bytes; S3 allows 1,024"),
        ("a.csv", f"key\nok\n{'é' * 513}\n", "key", "the key has 1,026 bytes; S3 allows 1,024"),
        ("a.csv", 'key\nok\n""\n', "key", "the key is empty"),
        ("a.jsonl", '"ok"\n{"size": 3}\n', "key", "the key is empty"),
        ("a.jsonl", '"ok"\n{"key": 3}\n', "key", "text is expected, not 3"),
        ("a.jsonl", '"ok"\n{"key": "k", "etag": ["e"]}\n', "etag", "text is expected, not ['e']"),
        ("a.csv", "key\nok\ns3://b-1/\n", "key", "'s3://b-1/' has no key"),
        ("a.csv", "key,bucket\nok,b-1\nk,x y\n", "bucket", "'x y' can't be a bucket's name"),
        ("a.csv", "key,bucket\nok,b-1\nk,ab\n", "bucket", "'ab' can't be a bucket's name"),
        ("a.csv", "key,bucket\nok,b-1\nk,1.2.3.4\n", "bucket", "'1.2.3.4' can't be a bucket's name"),
        *(
            ("a.csv", f"key,size\nok,1\nk,{size}\n", "size", f"'{size}' is not a number of bytes")
            for size in ("x", "-1", "1.5", "1.00", "-1.0", "1.0 ", "1e3", "0x10", "1_000", "٣", "+1", " 1", "9" * 19)
        ),
        ("a.jsonl", '"ok"\n{"key": "k", "size": 1.5}\n', "size", "'1.5' is not a number of bytes"),
        ("a.jsonl", '"ok"\n{"key": "k", "size": -1.0}\n', "size", "'-1' is not a number of bytes"),
        ("a.jsonl", '"ok"\n{"key": "k", "size": 1e16}\n', "size", "'1e+16' is not a number of bytes"),
        ("a.jsonl", '"ok"\n{"key": "k", "size": true}\n', "size", "'True' is not a number of bytes"),
        ("a.jsonl", '"ok"\n{"key": "k", "size": -1}\n', "size", "'-1' is not a number of bytes"),
        ("a.csv", "key,size\nok,1\nk," + "9" * 5000 + "\n", "size", "is not a number of bytes"),
    ],
)
def test_errors_have_file_line_and_column(tmp_path: Path, name: str, text: str, column: str, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path / name, text, "default")
    assert caught.value.line == (2 if name.endswith("jsonl") else 3)
    assert caught.value.column == column
    assert problem in caught.value.problem


def test_a_missing_bucket_suggests_the_option(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"a.csv:2: column bucket: the row has no bucket; name one with --bucket"):
        read(tmp_path / "a.csv", "key\nk\n")
    with pytest.raises(ManifestError, match=r"with --bucket, or give column presigned_url the name url if it has"):
        read(tmp_path / "a.csv", "key,presigned_url\nk,https://h/k\n")


def test_the_line_number_is_right_in_later_batches(tmp_path: Path) -> None:
    rows = "".join(f'"k{i}\nx",1\n\n' for i in range(2000))
    with pytest.raises(ManifestError) as caught:
        read(tmp_path / "a.csv", f"key,size\n{rows}k,x\n", "b-1")
    assert caught.value.line == 6002


def test_a_key_of_1024_bytes_is_allowed(tmp_path: Path) -> None:
    assert len(read(tmp_path / "a.csv", f"key\n{'é' * 512}\n", "b-1")) == 1


def test_links_without_keys_can_not_be_signed_again(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"a.txt:1: column key: the column is missing; a url alone"):
        read(tmp_path / "a.txt", "https://h/k\n", "b-1")


@pytest.mark.parametrize("cell", ["sha256", "md6:AAAA", "crc32c:AA==", "md5:not base64"])
def test_a_checksum_that_is_not_valid(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ManifestError, match=r"a.csv:3: column checksum: "):
        read(tmp_path / "a.csv", f"key,checksum\nk,\nl,{cell}\n", "b-1")
