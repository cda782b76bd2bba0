"""A folder with one file for each object, opened relative to descriptors and never outside of it."""

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from bulkpresign.errors import InputError, NameRefusedError, OpenFilesError, ParameterError, StorageError
from bulkpresign.tables.files import check_local
from bulkpresign.transfer.disk.beneath import FOLDER_FLAGS, Root
from bulkpresign.transfer.disk.paths import are_plain, path_problem, target_problem, temporary_name

_CHECKED_FOLDERS = 100_000
#: The most folders that stay open, and the share of the files that a process may open.
_OPEN_FOLDERS, _SHARE_OF_FILES = 128, 8
#: Doesn't wait for the other end of a pipe.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class Directory:
    """An open directory below the folder. Its descriptor is closed with the last user of the object."""

    __slots__ = ("descriptor", "path")

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor, self.path = descriptor, path

    def __del__(self) -> None:
        os.close(self.descriptor)


class Folder:
    """A folder with objects under their paths. Nothing is ever read or written outside of it.

    Files are opened relative to descriptors of their directories: a directory that is replaced by a symbolic link in
    the middle of a run doesn't lead elsewhere.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Raises ParameterError for an empty name, and for a url."""
        if not os.fspath(root):  # Path takes it for the current folder
            raise ParameterError("the name of the folder is empty: name one; . is the present one")
        check_local(os.fspath(root), "copy and verify take buckets on both sides")
        self.root = Path(root)
        #: True where this run made it, or found it empty: no file in it is older than the run.
        self.was_empty = False
        self._real_root = os.path.realpath(self.root)
        self._checked: set[str] = set()
        self._open_root: Root | None = None
        self._open: dict[str, Directory] = {}
        self._most_open = _OPEN_FOLDERS

    @contextmanager
    def made(self) -> Iterator[None]:
        """Makes the folder and its parents, and closes it at the end. Bad input removes the folders that were made.

        Raises ParameterError for a folder that can't be made or written.
        """
        missing = [folder for folder in (self.root, *self.root.parents) if not os.path.lexists(folder)]
        try:
            self._make()
            self.was_empty = self.root in missing or _is_empty(self.root)
            yield
        except InputError:
            for folder in missing:
                with suppress(OSError):  # not made, or not empty
                    folder.rmdir()
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Closes the directories. A file in work keeps its own one open."""
        self._open.clear()
        self._open_root = None

    def _make(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ParameterError(f"{self.root} is a file, not a folder") from error
        except OSError as error:
            raise ParameterError(f"{self.root} can't be made: {error.strerror}") from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            is_read_only = os.statvfs(self.root).f_flag & os.ST_RDONLY
            problem = os.strerror(errno.EROFS).lower() if is_read_only else "permission denied"
            raise ParameterError(f"{self.root} can't be written: {problem}")

    def require(self) -> None:
        """Raises ParameterError for a folder that is missing, or is not a folder."""
        if not os.path.isdir(self.root):  # noqa: PTH112 - Path raises for a name that is too long
            is_there = os.path.lexists(self.root)
            problem = "not a folder; --include GLOB selects files of a folder" if is_there else "missing"
            raise ParameterError(f"{self.root} is {problem}")

    def check_all(self, paths: Sequence[str]) -> None:
        """Raises NameRefusedError for the first path that must not be written. Plain paths are checked all at once."""
        if are_plain(paths):
            first_in: dict[str, str] = {}
            for path in paths:
                first_in.setdefault(path.rpartition("/")[0], path)
            paths = list(first_in.values())
        for path in paths:
            if problem := target_problem(path):
                raise NameRefusedError(path, problem)
            self._check_parent(path)

    def check(self, path: str) -> None:
        """Raises NameRefusedError for a path that is not allowed, or that leaves the folder through a symbolic link."""
        if problem := path_problem(path):
            raise NameRefusedError(path, problem)
        self._check_parent(path)

    def _check_parent(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent not in self._checked:
            self._check_inside(parent, path)
            if len(self._checked) >= _CHECKED_FOLDERS:
                self._checked.clear()
            self._checked.add(parent)

    def check_sources(self, paths: Sequence[str]) -> None:
        """Raises NameRefusedError for the first path that must not be read because it leaves the folder."""
        for path in paths:
            self.check(path)
            if os.path.islink(self.file(path)):  # noqa: PTH114
                self._check_inside(path, path)

    def _check_inside(self, below: str, path: str) -> None:
        real = os.path.realpath(os.path.join(self._real_root, below))  # noqa: PTH118 - Path would fold the name
        if real != self._real_root and not real.startswith(self._real_root.rstrip("/") + "/"):
            raise NameRefusedError(path, "it leaves the folder through a symbolic link")

    def file(self, path: str) -> str:
        """The file's full name, for messages."""
        return f"{self.root}/{path}"

    def open_source(self, path: str) -> int:
        """Opens a file of any kind for reading. Follows symbolic links inside the folder. Returns a descriptor.

        Raises NameRefusedError for a path that leaves the folder, OSError for other failures. Its note tells of a file
        whose name looks the same.
        """
        if problem := path_problem(path):
            raise NameRefusedError(path, problem)
        try:
            return self._beneath().open(path, _READ)
        except FileNotFoundError as error:
            for form in ("NFC", "NFD"):  # macOS and its archives have names in NFD
                other = unicodedata.normalize(form, path)
                if other != path and os.path.lexists(self.file(other)):
                    error.add_note(f"a file with the same letters in {form} is there: rename it")
            raise

    def target(self, path: str) -> "Target":
        """The file of one object. Raises NameRefusedError for a path that can't be a file."""
        if problem := target_problem(path):
            raise NameRefusedError(path, problem)
        return Target(self, path)

    def directory(self, path: str, *, make: bool = False, anew: bool = False) -> Directory:
        """An open directory below the folder ("": the folder itself). With `make` it is made, with its parents.

        It may have been removed since it was opened; `anew` opens it again. Raises NameRefusedError for a symbolic link
        that leads out, OSError for other failures.
        """
        found = None if anew else self._open.get(path)
        if found is None:
            if len(self._open) >= self._most_open:
                self._open.pop(next(iter(self._open)))
            found = self._open[path] = Directory(self._opened(path, make), path)
        return found

    def limit_open(self, open_files: int) -> None:
        """Keeps fewer directories open if the process may open only `open_files` files."""
        self._most_open = max(1, min(_OPEN_FOLDERS, open_files // _SHARE_OF_FILES))

    def _opened(self, path: str, make: bool) -> int:
        if make and self._open_root is None:
            os.makedirs(self.root, exist_ok=True)  # noqa: PTH103
        root = self._beneath()
        try:
            return root.open(path or ".", FOLDER_FLAGS)
        except FileNotFoundError:
            if not make:
                raise
        segments = path.split("/")
        for count in range(1, len(segments) + 1):
            parent = root.open("/".join(segments[: count - 1]) or ".", FOLDER_FLAGS)
            try:
                with suppress(FileExistsError):
                    os.mkdir(segments[count - 1], dir_fd=parent)
            finally:
                os.close(parent)
        return root.open(path, FOLDER_FLAGS)

    def _beneath(self) -> Root:
        if self._open_root is None:
            self._open_root = Root(os.fspath(self.root))
        return self._open_root


class Target:
    """The file for one object: its directory, its name and its temporary name beside it.

    Use as a context manager: its directory then is closed in time, even while an error keeps this object alive.
    """

    __slots__ = ("_directory", "folder", "name", "parent", "path")

    def __init__(self, folder: Folder, path: str) -> None:
        self.folder, self.path = folder, path
        self.parent, _, self.name = path.rpartition("/")
        self._directory: Directory | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._directory = None

    @property
    def full_name(self) -> str:
        """The file's full name, for messages."""
        return self.folder.file(self.path)

    @property
    def temporary_name(self) -> str:
        """The name until the file is whole."""
        return temporary_name(self.path)

    @property
    def temporary_full_name(self) -> str:
        """The temporary file's full name, for messages."""
        return self.folder.file(f"{self.parent}/{self.temporary_name}" if self.parent else self.temporary_name)

    def directory(self, *, make: bool = False, anew: bool = False) -> Directory:
        """Its open directory: see `Folder.directory`.

        Raises StorageError, also for one that leaves the folder; FileNotFoundError for one that doesn't exist.
        """
        if self._directory is None or make:
            try:
                self._directory = self.folder.directory(self.parent, make=make, anew=anew)
            except NameRefusedError as error:
                raise StorageError(str(NameRefusedError(self.path, error.why)), code="NameRefused") from error
            except FileNotFoundError:
                if not make:
                    raise
                raise StorageError(f"{self.full_name}: its folder is gone", code="FileNotFoundError") from None
            except OSError as error:
                raise storage_error(self.full_name, error) from error
        return self._directory

    def found(self) -> os.stat_result | None:
        """The state of the file, or of the symbolic link, under its name; None where there is none.

        Raises StorageError for a folder, which no file can replace.
        """
        found = self._stat(self.name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise StorageError(f"{self.full_name} is a folder", code="IsAFolder")
        return found

    def temporary_size(self) -> int | None:
        """The size of the temporary file, None where there is none."""
        found = self._stat(self.temporary_name)
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def _stat(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self.directory().descriptor, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(self.full_name, error) from error

    def open(self) -> int:
        """Opens the regular file under its name for reading. Returns a descriptor. Raises OSError."""
        descriptor = os.open(self.name, _READ | os.O_NOFOLLOW, dir_fd=self.directory().descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file")
        return descriptor


def _is_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:  # it may be written, and not read
        return False


def storage_error(file: str, error: OSError) -> StorageError:
    """The StorageError for an error of the file system."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        advice = "allow more (ulimit -n), or run fewer at a time"
        return OpenFilesError(f"{file}: {error.strerror}: {advice}", code="TooManyOpenFiles")
    code = "DiskFull" if error.errno in {errno.ENOSPC, errno.EDQUOT} else type(error).__name__
    reason = "; ".join([str(error.strerror), *getattr(error, "__notes__", ())])
    return StorageError(f"{file}: {reason}", code=code)
