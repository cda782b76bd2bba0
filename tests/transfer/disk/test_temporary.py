"""A temporary file: bytes that are written in several steps, room on the disk, and names that end well or not."""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bulkpresign.errors import StorageError
from bulkpresign.transfer.disk import temporary
from bulkpresign.transfer.disk.folder import Folder, Target
from bulkpresign.transfer.disk.temporary import TemporaryFile, remove_temporary, store_whole

DATA = bytes(range(256))
GIB = 1 << 30


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with Folder(tmp_path).target("a") as found:
        yield found


def test_a_write_that_stores_less_goes_on(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:100]))
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, at: pwrite(descriptor, data[:100], at))
    with TemporaryFile(target) as file:
        file.write(DATA)
        assert file.size == 256
        file.write_at(256, DATA)
        file.write_at(10, DATA[10:])
        assert file.read_at(250, 10) == DATA[250:] + DATA[:4]
        file.commit()
    assert (tmp_path / "a").read_bytes() == DATA * 2


def fails_with(number: int, times: int = 99) -> Callable[[int, int, int, int], int]:
    """An fallocate(2) that fails so often, then succeeds."""
    left = [number] * times

    def fallocate(descriptor: int, mode: int, offset: int, size: int) -> int:
        if left:
            ctypes.set_errno(left.pop())
            return -1
        os.posix_fallocate(descriptor, offset, size)
        return 0

    return fallocate


@pytest.mark.parametrize(
    "function",
    [None, fails_with(errno.EOPNOTSUPP), fails_with(errno.ENOSYS), fails_with(errno.EINTR, 2), fails_with(0, 0)],
    ids=["missing", "EOPNOTSUPP", "ENOSYS", "EINTR", "works"],
)
def test_room_is_taken_whatever_the_file_system_can(
    function: Callable[[int, int, int, int], int] | None, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "_LIBC_FALLOCATE", function)
    with TemporaryFile(target) as file:
        file.allocate(5000)
        assert file.size == 5000
        assert target.temporary_size() == 5000
        assert file.read_at(0, 9999) == bytes(5000)


def test_a_disk_without_room_is_told_before_the_first_byte(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_LIBC_FALLOCATE", fails_with(errno.ENOSPC))
    with TemporaryFile(target) as file:
        with pytest.raises(StorageError) as caught:
            file.allocate(5000)
        assert caught.value.code == "DiskFull"
        assert file.size == 0
    assert target.temporary_size() is None


@pytest.mark.parametrize(
    ("free", "total", "is_full"),
    [
        (GIB // 20, GIB, False),
        (GIB // 20 - 4096, GIB, True),
        (256 << 20, 100 * GIB, False),
        ((256 << 20) - 4096, 100 * GIB, True),
    ],
)
def test_a_share_of_the_disk_is_left_free(
    free: int, total: int, is_full: bool, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at after each MiB."""
    asked = []

    def fstatvfs(descriptor: int) -> SimpleNamespace:
        asked.append(descriptor)
        return SimpleNamespace(f_bavail=-(-free // 4096), f_blocks=total // 4096, f_frsize=4096)

    monkeypatch.setattr(os, "fstatvfs", fstatvfs)
    with TemporaryFile(target) as file:
        file.write(bytes((1 << 20) - 1))
        file.check_free_space()
        assert asked == []
        file.write(b"x")
        if is_full:
            with pytest.raises(StorageError, match="nearly full after 1,048,576 bytes"):
                file.check_free_space()
            return
        file.check_free_space()
        file.check_free_space()
        assert len(asked) == 1


def test_an_earlier_attempt_leaves_what_counts(target: Target, tmp_path: Path) -> None:
    with TemporaryFile(target) as file:
        file.write(DATA)
    with TemporaryFile(target, is_kept=True) as file:
        assert (file.size, b"".join(file.blocks())) == (256, DATA)
    with TemporaryFile(target, resume_at=100) as file:
        file.write(b"new")
        assert b"".join(file.blocks()) == DATA[:100] + b"new"
    assert target.temporary_size() == 103
    with TemporaryFile(target) as file:
        assert (file.size, list(file.blocks())) == (0, [])
    assert list(tmp_path.iterdir()) == []
    remove_temporary(target)


def test_a_discarded_file_vanishes(target: Target, tmp_path: Path) -> None:
    for _ in range(2):
        with TemporaryFile(target) as file:
            file.write(DATA)
            file.discard()
        assert list(tmp_path.iterdir()) == []
    with TemporaryFile(target) as file:
        file.write(DATA)
    remove_temporary(target)
    assert list(tmp_path.iterdir()) == []


def test_a_part_file_that_is_gone_is_told(target: Target) -> None:
    for how in ({"is_kept": True}, {"resume_at": 3}):
        with pytest.raises(StorageError, match="vanished") as caught, TemporaryFile(target, **how):
            pytest.fail("there is none")
        assert caught.value.code == "InUse"


def test_a_name_comes_with_its_time(target: Target, tmp_path: Path) -> None:
    with TemporaryFile(target) as file:
        file.write(DATA)
        found = file.commit(1_000_000_000.5)
    assert (found.st_mtime, found.st_size) == (1_000_000_000.5, 256)
    assert (tmp_path / "a").stat().st_mtime_ns == found.st_mtime_ns


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_pipe_under_the_temporary_name_is_told_and_stays(is_kept: bool, target: Target, tmp_path: Path) -> None:
    pipe = tmp_path / target.temporary_name
    os.mkfifo(pipe)
    refused = pytest.raises(StorageError, match="is not a regular file: remove it")
    with refused as caught, TemporaryFile(target, is_kept=is_kept):
        pytest.fail("it is refused first")
    assert caught.value.code == "NotAFile"
    assert pipe.is_fifo()


def test_a_small_file_is_stored_in_one_call(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:100]))
    found = store_whole(target, DATA, 1_000_000_000.5)
    assert (found.st_mtime, found.st_size) == (1_000_000_000.5, 256)
    assert (tmp_path / "a").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_small_file_replaces_what_an_earlier_attempt_left(target: Target, tmp_path: Path) -> None:
    (tmp_path / target.temporary_name).write_bytes(DATA * 2)
    (tmp_path / "a").write_bytes(b"old")
    store_whole(target, memoryview(DATA), None)
    assert (tmp_path / "a").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def open_below(folder: Path) -> int:
    """The descriptors of this process for a folder and what is in it, also for what was deleted."""
    return sum(os.path.realpath(f"/proc/self/fd/{number}").startswith(str(folder)) for number in range(1024))


@pytest.mark.parametrize("call", ["write", "utime", "dup", "rename"])
def test_a_small_file_that_fails_leaves_nothing(
    call: str, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    target.directory(make=True)
    open_before = open_below(tmp_path)
    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError, match="no space") as caught:
        store_whole(target, DATA, 1.0)
    assert caught.value.code == "DiskFull"
    assert list(tmp_path.iterdir()) == []
    assert open_below(tmp_path) == open_before


def test_a_small_file_of_another_run_is_not_touched(target: Target, tmp_path: Path) -> None:
    with Folder(tmp_path).target("a") as other, TemporaryFile(other) as file:
        file.write(b"theirs")
        with pytest.raises(StorageError, match="in use by another run"):
            store_whole(target, DATA, None)
        file.commit()
    assert (tmp_path / "a").read_bytes() == b"theirs"


def test_a_small_file_finds_its_directory_again(tmp_path: Path) -> None:
    with Folder(tmp_path).target("d/a") as target, Folder(tmp_path).target("d/b") as other:
        store_whole(target, DATA, None)
        (tmp_path / "d/a").unlink()
        (tmp_path / "d").rmdir()
        store_whole(target, DATA, None)
        store_whole(other, DATA, None)
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"a", "b"}
