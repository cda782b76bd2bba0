"""Names on disk: which paths are refused, and how a file appears whole or not at all.

POSIX stores a key under its own bytes, so none is changed: what can't be stored as it is, is refused by name.
"""

import ctypes
import errno
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from bulkpresign.errors import InputError, NameRefusedError, ParameterError, StorageError

#: The longest name of a file, in bytes, on the file systems in use.
MAX_NAME_BYTES = 255
_KNOWN_FOLDERS = 100_000
#: Most paths: no segment begins with a dot, none is long. Others are looked at a segment at a time.
_PLAIN = r"[^/.\0][^/\0]{0,62}(?:/[^/.\0][^/\0]{0,62})*"
_PLAIN_PATH = re.compile(rf"{_PLAIN}\Z")
_PLAIN_PATHS = re.compile(rf"{_PLAIN}(?:\0{_PLAIN})*\Z")  # a NUL between them
PART_SUFFIX = ".part"
_PART_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def path_problem(path: str) -> str | None:  # noqa: PLR0911 - one for each reason
    """Why a path can't be a file below a folder, or None."""
    if _PLAIN_PATH.match(path):
        return None
    if not path:
        return "it is empty"
    if "\0" in path:
        return "it has a NUL character"
    if path.startswith("/"):
        return "it is absolute"
    for segment in path.split("/"):
        if segment in {"", ".", ".."}:
            return "it has an empty segment" if not segment else f"it has a segment {segment!r}"
        if len(segment) > MAX_NAME_BYTES // 4 and len(os.fsencode(segment)) > MAX_NAME_BYTES:
            return f"it has a segment of over {MAX_NAME_BYTES} bytes"
    return None


class Folder:
    """A folder in which objects lie under their paths. Nothing is ever read or written outside of it."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        if not os.fspath(root):  # Path takes it for the present folder
            raise ParameterError("the name of the folder is empty: name one; . is the present one")
        self.root = Path(root)
        #: True where we made it, so that what stands in it is ours.
        self.is_new = False
        self._real_root = os.path.realpath(self.root)
        self._known: set[str] = set()

    @contextmanager
    def made(self) -> Iterator[None]:
        """A context for which the folder is there, with its parents; what was made goes again where input is bad.

        Raises ParameterError where it can't be made or written.
        """
        missing = [folder for folder in (self.root, *self.root.parents) if not os.path.lexists(folder)]
        try:
            self._make()
            self.is_new = self.root in missing
            yield
        except InputError:
            for folder in missing:
                with suppress(OSError):  # not made, or not empty
                    folder.rmdir()
            raise

    def _make(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ParameterError(f"{self.root} is a file, not a folder") from error
        except OSError as error:
            raise ParameterError(f"{self.root} can't be made: {error.strerror}") from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise ParameterError(f"{self.root} can't be written: permission denied")

    def require(self) -> None:
        """Raises ParameterError where the folder is missing or none."""
        if not self.root.is_dir():
            raise ParameterError(f"{self.root} is {'not a folder' if self.root.exists() else 'missing'}")

    def check_all(self, paths: Sequence[str]) -> None:
        """Raises NameRefusedError for the first that `check` refuses; plain ones are looked at all at once."""
        joined = "\0".join(paths)
        if joined.count("\0") == len(paths) - 1 and _PLAIN_PATHS.match(joined):
            first_in: dict[str, str] = {}
            for path in paths:
                first_in.setdefault(path.rpartition("/")[0], path)
            paths = list(first_in.values())
        for path in paths:
            self.check(path)

    def check(self, path: str) -> None:
        """Raises NameRefusedError for a path that must not be used, by its form or through a symbolic link."""
        if problem := path_problem(path):
            raise NameRefusedError(path, problem)
        parent = path.rpartition("/")[0]
        if parent not in self._known:
            self._check_inside(parent, path)
            if len(self._known) >= _KNOWN_FOLDERS:
                self._known.clear()
            self._known.add(parent)

    def _check_inside(self, parent: str, path: str) -> None:
        real = os.path.realpath(os.path.join(self._real_root, parent))  # noqa: PTH118 - Path would fold the name
        if real != self._real_root and not real.startswith(self._real_root.rstrip("/") + "/"):
            raise NameRefusedError(path, "it leaves the folder through a symbolic link")

    def file(self, path: str) -> str:
        """The file's full name."""
        return f"{self.root}/{path}"

    def source_file(self, path: str) -> str:
        """The full name of a file to be read. Raises NameRefusedError where it is a link that leaves the folder."""
        self.check(path)
        file = self.file(path)
        if os.path.islink(file):  # noqa: PTH114
            self._check_inside(path, path)
        return file

    def check_sources(self, paths: Sequence[str]) -> None:
        """Raises NameRefusedError for the first that is no `source_file`."""
        for path in paths:
            self.source_file(path)

    def part(self, path: str) -> str:
        """The full name of a file until it is whole: beside it, and such as no other object has by chance."""
        raw = os.fsencode(path)
        suffix = f".{zlib.crc32(raw):08x}{PART_SUFFIX}"
        if len(raw) + len(suffix) > MAX_NAME_BYTES:
            folder, slash, name = raw.rpartition(b"/")
            path = os.fsdecode(folder + slash + name[: MAX_NAME_BYTES - len(suffix)])
        return f"{self.root}/{path}{suffix}"

    def remove_part(self, path: str) -> None:
        """Removes what an earlier run left, where the file turned out to need nothing of it."""
        with suppress(OSError):  # mostly there is none
            os.unlink(self.part(path))  # noqa: PTH108


class PartFile:
    """A file on its way: written as a part, then renamed. Use as a context manager.

    `resume_at` keeps that many bytes which a part has already. Left without `commit`, an empty part vanishes and one
    with bytes stays, as the start of the next attempt. Raises StorageError for what the file system refuses.
    """

    def __init__(self, folder: Folder, path: str, resume_at: int = 0) -> None:
        self._final = folder.file(path)
        self.name = folder.part(path)
        self._descriptor = -1
        self._flags = _PART_FLAGS if resume_at else _PART_FLAGS | os.O_TRUNC
        self.size = resume_at

    def __enter__(self) -> Self:
        try:
            self._open()
        except OSError as error:
            raise _storage_error(self.name, error) from error
        return self

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self.name, self._flags, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.name), exist_ok=True)  # noqa: PTH103, PTH120
            self._descriptor = os.open(self.name, self._flags, 0o666)
        if self.size:
            os.ftruncate(self._descriptor, self.size)
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def write(self, data: bytes | memoryview) -> None:
        """Adds bytes. Written right here: a hop to a thread costs more than the write."""
        try:
            count = os.write(self._descriptor, data)
            while count < len(data):
                count += os.write(self._descriptor, memoryview(data)[count:])
        except OSError as error:
            raise _storage_error(self.name, error) from error
        self.size += count

    def allocate(self, size: int) -> None:
        """Takes the room of a whole object. Where the file system can't, the part is a hole of that size."""
        try:
            if not _fallocate(self._descriptor, size):
                os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise _storage_error(self.name, error) from error
        self.size = size

    def commit(self, modified_at: float | None = None) -> None:
        """Gives the file its name: it is whole. `modified_at` in Unix seconds."""
        try:
            if modified_at is not None:
                os.utime(self._descriptor, (modified_at, modified_at))
            self._close()
            os.rename(self.name, self._final)  # noqa: PTH104
        except OSError as error:
            raise _storage_error(self._final, error) from error

    def discard(self) -> None:
        """Forgets what was written: it is wrong."""
        self.size = 0

    def __exit__(self, *exc_info: object) -> None:
        with suppress(OSError):  # an error is on its way already, and says more
            if self._descriptor >= 0:
                self._close()
            if not self.size:
                os.unlink(self.name)  # noqa: PTH108

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


class Stretch(PartFile):
    """Some bytes, from `start` on, of a part that has its whole size already: any number are written at a time.

    Whatever becomes of it, the part stays: other bytes are in it.
    """

    def __init__(self, folder: Folder, path: str, start: int) -> None:
        super().__init__(folder, path)
        self._start = start

    def _open(self) -> None:
        self._descriptor = os.open(self.name, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        os.lseek(self._descriptor, self._start, os.SEEK_SET)

    def __exit__(self, *exc_info: object) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):  # as with any part
                self._close()


def allocate(folder: Folder, path: str, size: int) -> None:
    """Makes a part of `size` bytes anew, so that a disk that is full shows now. Raises StorageError."""
    with PartFile(folder, path) as part:
        part.allocate(size)


def regular_file_size(file: str) -> int | None:
    """The size of what stands under a name, None where nothing does. Raises StorageError where it is no file."""
    try:
        found = os.lstat(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _storage_error(file, error) from error
    if stat.S_ISDIR(found.st_mode):
        raise StorageError(f"{file} is a folder", code="IsAFolder")
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _fallocate(descriptor: int, size: int) -> bool:
    """Takes room for a file; false where the file system has no such call. Raises OSError where there is no room.

    `os.posix_fallocate` would fill the file with zeros instead, which over NFS sends all of them.
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
    """fallocate(2) of Linux's C libraries; elsewhere there is none."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function


_LIBC_FALLOCATE = _libc_fallocate()


def _storage_error(file: str, error: OSError) -> StorageError:
    code = "DiskFull" if error.errno in {errno.ENOSPC, errno.EDQUOT} else type(error).__name__
    return StorageError(f"{file}: {error.strerror}", code=code)
