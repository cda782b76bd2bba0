"""Opens files below a directory and never outside of it, even if a directory is replaced by a symbolic link meanwhile.

Linux resolves a path below a directory in one step (openat2 with RESOLVE_BENEATH, since 5.6). Elsewhere each segment is
opened relative to the one before, and none may be a symbolic link.
"""

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache

from bulkpresign.errors import NameRefusedError

#: Opens a directory as the start of relative paths, without the permission to read it.
FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08
_ATTEMPTS = 100  # the kernel gives up while folders are renamed at the same time
_OUTSIDE = frozenset({errno.EXDEV, errno.ELOOP})

#: Opens a path below a directory's descriptor, with flags. Raises OSError: EXDEV or ELOOP for a path that leads out.
Open = Callable[[int, str, int], int]


class Root:
    """A directory, below which paths are opened: its descriptor and its real path."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self.real_path = os.path.realpath(path)
        self.descriptor = os.open(self.real_path, FOLDER_FLAGS)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def open(self, path: str, flags: int) -> int:
        """Opens a path, through symbolic links that stay inside. Returns a descriptor.

        Raises NameRefusedError for a path that leads out, OSError for other failures.
        """
        open_below = _open_below()
        try:
            return open_below(self.descriptor, path, flags)
        except OSError as error:
            if error.errno not in _OUTSIDE:
                raise
        real = os.path.realpath(os.path.join(self.real_path, path))  # noqa: PTH118 - Path would fold the name
        inside = os.path.relpath(real, self.real_path)
        if inside == ".." or inside.startswith("../"):
            raise NameRefusedError(path, "it leaves the folder through a symbolic link")
        return open_below(self.descriptor, inside, flags)


def by_segments(root: int, path: str, flags: int) -> int:
    """Opens one segment after another; none may be a symbolic link. Raises OSError."""
    *parents, name = path.split("/")
    directory = os.dup(root)
    try:
        for parent in parents:
            below = os.open(parent, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = below
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except NotADirectoryError as error:  # a symbolic link where a directory is expected
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
    finally:
        os.close(directory)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _open_below() -> Open:
    """openat2 if the kernel has it and allows it, else `by_segments`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syscall") or os.uname().sysname != "Linux":
        return by_segments

    def openat2(root: int, path: str, flags: int) -> int:
        how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
        for _ in range(_ATTEMPTS):
            descriptor = libc.syscall(
                ctypes.c_long(_SYS_OPENAT2),
                ctypes.c_int(root),
                ctypes.c_char_p(os.fsencode(path)),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
            if descriptor >= 0:
                return int(descriptor)
            number = ctypes.get_errno()
            if number not in {errno.EAGAIN, errno.EINTR}:
                break
        raise OSError(number, os.strerror(number))

    root = os.open("/", FOLDER_FLAGS)
    try:
        os.close(openat2(root, ".", FOLDER_FLAGS))
    except OSError:  # an old kernel, or a sandbox
        return by_segments
    finally:
        os.close(root)
    return openat2
