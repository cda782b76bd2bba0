"""Everything below a folder is listed once, in constant memory."""

import os
import tracemalloc
from pathlib import Path

import pytest

from bulkpresign.proof.tree import FolderEntry, walk
from tests.proof.descriptors import open_descriptors


def test_all_but_folders_are_found_once(tmp_path: Path) -> None:
    paths = ["a", "b/c", "b/d/e/f", ".hidden", "z.part", "new\nline"]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "circle").symlink_to(".")
    (tmp_path / "nowhere").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"")
    found = list(walk(tmp_path))
    expected = {os.fsencode(path) for path in [*paths, "circle", "nowhere", "pipe"]} | {b"not-utf8-\xff"}
    assert {entry.path for entry in found} == expected
    assert len(found) == len(expected)
    assert {entry.problem for entry in found} == {None}


def test_deep_folders(tmp_path: Path) -> None:
    path = tmp_path / "/".join(["d"] * 600)
    path.mkdir(parents=True)
    (path / "leaf").write_bytes(b"")
    assert [entry.path for entry in walk(tmp_path)] == [b"d/" * 600 + b"leaf"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub" / "closed").mkdir(parents=True)
    (tmp_path / "sub" / "file").write_bytes(b"")
    real = os.scandir

    def refuse(folder: bytes) -> object:
        if folder.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert sorted(walk(tmp_path)) == [FolderEntry(b"sub/closed/", "Permission denied"), FolderEntry(b"sub/file")]


def test_memory_is_constant_and_no_folder_stays_open(tmp_path: Path) -> None:
    for number in range(5000):
        (tmp_path / f"file-{number:0200}").write_bytes(b"")
    before = open_descriptors()
    tracemalloc.start()
    try:
        count = sum(1 for _ in walk(tmp_path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 5000
    assert peak < 100_000  # a list of the names has over a million bytes
    entries = walk(tmp_path)
    next(entries)
    del entries
    assert open_descriptors() == before
