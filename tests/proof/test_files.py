"""Verification of files against rows: every outcome, and other things in the place of files."""

import base64
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from bulkpresign.model import Link, ObjectRef, Outcome
from bulkpresign.proof.files import MISSING, UNPROVEN, FileVerifier, Row, batches_of
from bulkpresign.transfer.disk.folder import Folder
from tests.proof.descriptors import open_descriptors
from tests.support.checksums import checksum, composite_etag

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def prove(folder: Path, *refs: ObjectRef, moved: list[int] | None = None, accept_size: bool = False) -> list[Outcome]:
    heard: list[int] = [] if moved is None else moved
    return FileVerifier(Folder(folder).open_source, heard.append, accept_size=accept_size)([Row(ref) for ref in refs])


def test_files_that_match(folder: Path) -> None:
    data = b"some bytes"
    etag = hashlib.md5(data).hexdigest()
    (folder / "a").write_bytes(data)
    known: list[tuple[str | None, dict[str, object]]] = [
        ("sha256", {"checksum": checksum("sha256", data), "etag": "f" * 32}),
        ("md5", {"etag": etag, "size": 10}),
        ("md5-parts", {"etag": composite_etag(data, 5 * MIB)}),
        ("size", {"size": 10}),
        (None, {}),
    ]
    for name, row in known:
        (outcome,) = prove(folder, ObjectRef("b", "key", path="a", **row), accept_size=True)  # type: ignore[arg-type]
        assert (outcome.status, outcome.verified_by, outcome.bytes, outcome.message) == ("done", name, 10, None)


@pytest.mark.parametrize(
    "row", [{}, {"etag": "CKih16GsycICEAE="}, {"etag": f"{'0' * 32}-1"}], ids=["nothing", "opaque etag", "of parts"]
)
def test_an_empty_file_is_proven_by_its_size_alone_where_that_is_known(folder: Path, row: dict[str, Any]) -> None:
    """A full disk leaves such files."""
    (folder / "a").write_bytes(b"")
    (unknown,) = prove(folder, ObjectRef("b", "a", **row))
    assert unknown.status == "failed"
    (known,) = prove(folder, ObjectRef("b", "a", size=0))
    assert (known.status, known.verified_by) == ("done", "size")


def test_files_that_differ(folder: Path) -> None:
    (folder / "a").write_bytes(b"some bytes")
    cases = {
        "SizeMismatch": ObjectRef("b", "a", size=9, etag=hashlib.md5(b"some bytes").hexdigest()),
        "EtagMismatch": ObjectRef("b", "a", etag="0" * 32),
        "ChecksumMismatch": ObjectRef("b", "a", checksum="crc32:AAAAAA=="),
        MISSING: ObjectRef("b", "b"),
    }
    for code, ref in cases.items():
        (outcome,) = prove(folder, ref)
        assert (outcome.status, outcome.code, outcome.bytes, outcome.verified_by) == ("failed", code, 0, None)
    assert str(prove(folder, cases["EtagMismatch"])[0].message).endswith("and its etag is not an md5)")


def test_a_different_size_is_reported_without_reading(folder: Path) -> None:
    (folder / "a").write_bytes(bytes(1000))
    moved: list[int] = []
    prove(folder, ObjectRef("b", "a", size=9, etag="0" * 32), ObjectRef("b", "a", size=1000), moved=moved)
    assert sum(moved) == 0
    prove(folder, ObjectRef("b", "a", size=1000, etag="0" * 32), moved=moved)
    assert sum(moved) == 1000


def test_parts_of_an_unknown_size(folder: Path) -> None:
    (folder / "a").write_bytes(bytes(1000))
    (outcome,) = prove(folder, ObjectRef("b", "a", size=1000, etag="0" * 32 + "-3"))
    assert (outcome.status, outcome.code, outcome.bytes) == ("failed", UNPROVEN, 0)
    assert "the part size of its etag is unknown" in str(outcome.message)
    (outcome,) = prove(folder, outcome.object, accept_size=True)
    assert (outcome.status, outcome.verified_by) == ("done", "size")


def test_unproven_files(folder: Path) -> None:
    (folder / "a").write_bytes(b"abc")
    (folder / "empty").write_bytes(b"")
    outcomes = prove(folder, ObjectRef("b", "a", size=3), ObjectRef("b", "a"), ObjectRef("b", "empty", size=0))
    assert [outcome.code for outcome in outcomes] == [UNPROVEN, UNPROVEN, None]
    assert "its row has a size, but" in str(outcomes[0].message)
    assert "no size and no checksum" in str(outcomes[1].message)
    assert outcomes[2].verified_by == "size"  # no other file has no bytes


def test_the_part_size_is_found_in_a_second_read(folder: Path) -> None:
    data = os.urandom(8 * MIB)
    (folder / "a").write_bytes(data)
    moved: list[int] = []
    (outcome,) = prove(folder, ObjectRef("b", "a", size=len(data), etag=composite_etag(data, 3 * MIB)), moved=moved)
    assert outcome.verified_by == "md5-parts"
    assert sum(moved) == 2 * len(data)


def test_a_folder_marker_has_no_file(folder: Path) -> None:
    (outcome,) = prove(folder, ObjectRef("b", "sub/", size=0))
    assert outcome.status == "skipped"
    (outcome,) = prove(folder, ObjectRef("b", "sub/", size=1))
    assert (outcome.status, outcome.code) == ("failed", "NameRefused")


def test_signed_headers_of_a_link_are_used(folder: Path) -> None:
    """A PUT link's checksum; that an etag is under a customer's key."""
    (folder / "a").write_bytes(b"abc")
    prover = FileVerifier(Folder(folder).open_source, lambda count: None, accept_size=True)
    crc = base64.b64encode(bytes(4)).decode()
    signed = [
        ({"X-Amz-Checksum-CRC32": crc}, "ChecksumMismatch", None),
        ({"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256"}, None, "size"),
        ({}, "EtagMismatch", None),
    ]
    for headers, code, name in signed:
        ref = ObjectRef("b", "a", size=3, etag="0" * 32)
        link = Link("GET", "http://h/a", headers, None, ref)
        (outcome,) = prover([Row(ref, link)])
        assert (outcome.code, outcome.verified_by) == (code, name)
        assert outcome.link is link


def test_folders_and_pipes_are_not_files(folder: Path, tmp_path: Path) -> None:
    """A pipe would wait for its other end."""
    (folder / "sub").mkdir()
    (folder / "plain").write_bytes(b"")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "nowhere").symlink_to("gone")
    (folder / "inside").symlink_to("plain")
    (tmp_path / "secret").write_bytes(b"")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    expected = {
        "sub": "NotAFile",
        "pipe": "NotAFile",
        "loop": "Unreadable",
        "nowhere": MISSING,
        "plain/below": MISSING,
        "out": "NameRefused",
        "up/secret": "NameRefused",
        "../secret": "NameRefused",
        "inside": None,
    }
    outcomes = prove(folder, *(ObjectRef("b", path, size=0) for path in expected))
    assert {outcome.object.key: outcome.code for outcome in outcomes} == expected


def test_an_error_of_the_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a root may read anything, the system's answer is made up."""

    def refuse(file: str, flags: int, **_: object) -> int:
        raise PermissionError(13, "Permission denied", file)

    (folder / "a").write_bytes(b"")
    monkeypatch.setattr(os, "open", refuse)
    (outcome,) = prove(folder, ObjectRef("b", "a"))
    assert (outcome.code, outcome.message) == ("Unreadable", "the file can't be read: Permission denied")


def test_no_descriptor_is_left_open(folder: Path) -> None:
    (folder / "a").write_bytes(b"abc")
    before = open_descriptors()
    for _ in range(50):
        prove(folder, ObjectRef("b", "a", etag="0" * 32), ObjectRef("b", "a", size=1), ObjectRef("b", "."))
    assert open_descriptors() == before


def test_read_bytes_are_reported_and_can_stop_the_work(folder: Path) -> None:
    (folder / "a").write_bytes(bytes(40 * MIB))
    row = ObjectRef("b", "a", checksum=checksum("crc32", b""))
    moved: list[int] = []
    prove(folder, row, moved=moved)
    assert moved == [16 * MIB, 16 * MIB, 8 * MIB]

    def stop(count: int) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        FileVerifier(Folder(folder).open_source, stop)([Row(row)])


def test_batches_are_bounded_by_rows_and_by_bytes() -> None:
    def batches(*sizes: int | None) -> list[int]:
        rows: list[Row] = [Row(ObjectRef("b", str(n), size=size)) for n, size in enumerate(sizes)]
        made = list(batches_of(rows))
        assert [row for batch in made for row in batch] == rows
        return [len(batch) for batch in made]

    assert batches() == []
    assert batches(*[1] * 600) == [256, 256, 88]
    assert batches(*[1 << 40] * 3) == [1, 1, 1]
    assert batches(*[9 * MIB] * 5) == [2, 2, 1]
    assert max(batches(*[None] * 600)) == 256


def test_threads_share_a_verifier(folder: Path) -> None:
    rows: list[Row] = []
    for number in range(400):
        path = folder / str(number % 20) / str(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(str(number).encode())
        etag = hashlib.md5(str(number).encode()).hexdigest()
        rows.append(Row(ObjectRef("b", f"{number % 20}/{number}", etag=etag)))
    prover, done = FileVerifier(Folder(folder).open_source, lambda count: None), []
    threads = [threading.Thread(target=lambda part=rows[n::4]: done.extend(prover(part))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 400
    assert {outcome.verified_by for outcome in done} == {"md5"}
