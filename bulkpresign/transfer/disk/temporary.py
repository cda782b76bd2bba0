"""Files that appear whole or not at all: written under a temporary name, verified, then renamed."""

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

from bulkpresign.checksums import descriptor_blocks
from bulkpresign.errors import NameRefusedError, StorageError
from bulkpresign.transfer.disk.folder import Directory, Target, storage_error

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NEW = _FLAGS | os.O_CREAT | os.O_EXCL
_MODE = 0o666
#: A file of unannounced length leaves this share of the disk free, or this many bytes if that is less.
_RESERVED_SHARE, _RESERVED_BYTES = 20, 256 << 20
_CHECKED_EVERY = 1 << 20
_ATTEMPTS = 10
_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class TemporaryFile:
    """A temporary file. Use as a context manager; one process at a time has it.

    `resume_at` keeps that many bytes of an earlier attempt; `is_kept` keeps all of them, for parts in any order.
    Without `commit`, an empty file is removed, and one with bytes stays for the next attempt. Raises StorageError.
    """

    def __init__(self, target: Target, resume_at: int = 0, *, is_kept: bool = False) -> None:
        self._target, self._name = target, target.temporary_name
        self._directory: Directory | None = None
        self._descriptor = -1
        self._is_kept = is_kept
        self._checked_at = 0
        #: Bytes in the file; the size of the object where parts come in any order.
        self.size = resume_at

    @property
    def name(self) -> str:
        """The full name, for messages."""
        return self._target.temporary_full_name

    def __enter__(self) -> Self:
        try:
            self._directory = self._target.directory(make=True)
            try:
                self._open()
            except FileNotFoundError:  # the directory was removed
                self._directory = self._target.directory(make=True, anew=True)
                self._open()
        except OSError as error:
            self._close()
            raise storage_error(self.name, error) from error
        except BaseException:
            self._close()
            raise
        return self

    def _open(self) -> None:
        """Opens or makes the file, and locks it. An old one may be in use by another run."""
        name, directory = self._name, self._directory_fd
        for _ in range(_ATTEMPTS):
            if not self.size and not self._is_kept:
                try:
                    self._descriptor = os.open(name, _NEW, _MODE, dir_fd=directory)
                except FileExistsError:
                    pass
                else:
                    _lock(self._descriptor, self._target)
                    return
            with suppress(FileNotFoundError):
                self._descriptor = os.open(name, _FLAGS, dir_fd=directory)
                if self._is_locked_in_place():
                    self._set_size()
                    return
                os.close(self._descriptor)
                self._descriptor = -1
            if self.size or self._is_kept:
                break
        raise StorageError(f"{self.name} vanished: another run was at work on it", code="InUse")

    def _is_locked_in_place(self) -> bool:
        """Locks an old file. False if another run renamed or removed it before that."""
        opened = os.fstat(self._descriptor)
        if not stat.S_ISREG(opened.st_mode):
            raise StorageError(f"{self.name} is not a regular file: remove it", code="NotAFile")
        _lock(self._descriptor, self._target)
        with suppress(FileNotFoundError):
            found = os.stat(self._name, dir_fd=self._directory_fd, follow_symlinks=False)
            return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)
        return False

    def _set_size(self) -> None:
        if self._is_kept:
            self.size = os.fstat(self._descriptor).st_size
        else:
            os.ftruncate(self._descriptor, self.size)
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def write(self, data: bytes | memoryview) -> None:
        """Appends bytes. Not in a thread: the hop costs more than the write."""
        try:
            _write(self._descriptor, data)
        except OSError as error:
            raise storage_error(self.name, error) from error
        self.size += len(data)

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Writes bytes at an offset."""
        try:
            count = os.pwrite(self._descriptor, data, offset)
            while count < len(data):
                count += os.pwrite(self._descriptor, memoryview(data)[count:], offset + count)
        except OSError as error:
            raise storage_error(self.name, error) from error

    def check_free_space(self) -> None:
        """Raises StorageError before a file of unannounced length fills the disk."""
        if self.size - self._checked_at < _CHECKED_EVERY:
            return
        self._checked_at = self.size
        disk = os.fstatvfs(self._descriptor)
        reserved = min(_RESERVED_BYTES, disk.f_blocks * disk.f_frsize // _RESERVED_SHARE)
        if disk.f_bavail * disk.f_frsize < reserved:
            message = f"{self.name}: no length was announced, and the disk is nearly full after {self.size:,} bytes"
            raise StorageError(message, code="DiskFull")

    def allocate(self, size: int) -> None:
        """Reserves `size` bytes on the disk. Where the file system can't, the file is a hole of that size."""
        try:
            if not _fallocate(self._descriptor, size):
                os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise storage_error(self.name, error) from error
        self.size = size

    def blocks(self) -> Iterator[bytes]:
        """The bytes of the file, in blocks of 1 MiB."""
        return descriptor_blocks(self._descriptor)

    def read_at(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from an offset on. Raises OSError."""
        return os.pread(self._descriptor, count, offset)

    @property
    def state(self) -> tuple[int, ...] | None:
        """Numbers that differ once the bytes change, or another file has the name. None where the disk fails."""
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def sync(self) -> None:
        """Waits until the bytes are on the disk. Raises StorageError."""
        try:
            _fdatasync(self._descriptor)
        except OSError as error:
            raise storage_error(self.name, error) from error

    def commit(self, modified_at: float | None = None, *, sync: bool = False) -> os.stat_result:
        """Renames the whole file to its name. Returns its state then; `modified_at` is in Unix seconds.

        With `sync` it returns when file and name are on the disk: call it in a thread.
        """
        directory = self._directory_fd
        try:
            if modified_at is not None:
                os.utime(self._descriptor, (modified_at, modified_at))
            if sync:
                os.fsync(self._descriptor)
            found = _renamed(self._descriptor, self._name, self._target.name, directory)
            if sync:
                _sync_directory(directory)
        except OSError as error:
            raise storage_error(self._target.full_name, error) from error
        self._close()
        return found

    def discard(self) -> None:
        """Discards the bytes: the file is removed when it is closed."""
        self.size = 0

    def __exit__(self, *exc_info: object) -> None:
        if self._descriptor < 0:
            return
        with suppress(OSError):  # the error that ended the attempt says more
            if not self.size:
                os.unlink(self._name, dir_fd=self._directory_fd)
        self._close()

    @property
    def _directory_fd(self) -> int:
        assert self._directory is not None  # noqa: S101 - it is open while the file is
        return self._directory.descriptor

    def _close(self) -> None:
        self._directory = None
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)


def store_whole(target: Target, data: bytes | memoryview, modified_at: float | None) -> os.stat_result:
    """Stores a small file as a TemporaryFile does, in one call. Returns its state. Raises StorageError.

    For small files, the calls of a TemporaryFile take longer than writing them.
    """
    name = target.temporary_name
    try:
        opened = target.folder.directory(target.parent, make=True)  # stays open while `opened` is there
        directory = opened.descriptor
        descriptor = os.open(name, _NEW, _MODE, dir_fd=directory)
    except (OSError, NameRefusedError):  # there is one of an earlier run, or the directory was removed
        with target, TemporaryFile(target) as stored:
            stored.write(data)
            return stored.commit(modified_at)
    try:
        _lock(descriptor, target)
        _write(descriptor, data)
        if modified_at is not None:
            os.utime(descriptor, (modified_at, modified_at))
        return _renamed(descriptor, name, target.name, directory)
    except OSError as error:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise storage_error(target.full_name, error) from error
    finally:
        os.close(descriptor)


def _lock(descriptor: int, target: Target) -> None:
    """Locks a temporary file for this process. Raises StorageError if another one has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StorageError(f"{target.temporary_full_name} is in use by another run", code="InUse") from None
    except OSError:  # a file system without locks
        pass


def _write(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all bytes. Raises OSError."""
    count = os.write(descriptor, data)
    while count < len(data):
        count += os.write(descriptor, memoryview(data)[count:])


def _renamed(descriptor: int, name: str, new_name: str, directory: int) -> os.stat_result:
    """Renames an open file whose bytes are all there. Returns its state then. Raises OSError."""
    os.close(os.dup(descriptor))  # NFS reports a failed write here; the other descriptor keeps the lock
    os.rename(name, new_name, src_dir_fd=directory, dst_dir_fd=directory)
    return os.fstat(descriptor)


def remove_temporary(target: Target) -> None:
    """Removes the temporary file of an earlier run. One that another run uses stays."""
    if target.temporary_size() is not None:
        with suppress(StorageError), TemporaryFile(target, is_kept=True) as left:
            left.discard()


def _sync_directory(directory: int) -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fallocate(descriptor: int, size: int) -> bool:
    """Reserves bytes for a file. False if the file system can't. Raises OSError if there is no room.

    `os.posix_fallocate` would fill the file with zeros instead, and send all of them over NFS.
    """
    if _LIBC_FALLOCATE is None:
        return False
    while _LIBC_FALLOCATE(descriptor, 0, 0, size):
        number = ctypes.get_errno()
        if number in {errno.EOPNOTSUPP, errno.ENOSYS}:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True


def _libc_fallocate() -> Callable[[int, int, int, int], int] | None:
    """fallocate(2) of Linux's C libraries, None elsewhere."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function


_LIBC_FALLOCATE = _libc_fallocate()
