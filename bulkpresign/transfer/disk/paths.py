"""Which paths can be files below a folder.

POSIX stores a key under its own bytes, so no name is changed. A path that can't be stored as it is, is refused.
"""

import os
import re
import sys
import zlib
from collections.abc import Sequence

#: The longest name of a file, in bytes, on the file systems in use.
MAX_NAME_BYTES = 255
TEMPORARY_SUFFIX = ".part"
_TEMPORARY = re.compile(r"(.+)\.[0-9a-f]{8}\.part\Z", re.DOTALL)
_SHORT_NAME = 48  # characters: a suffix always fits
#: False in a locale of another encoding, in which Python would give files other bytes than those of their keys.
_NAMES_ARE_UTF8 = sys.getfilesystemencoding() == "utf-8"
#: Most paths: no segment begins with a dot, none is long. Others are checked segment by segment.
_PLAIN = r"[^/.\0][^/\0]{0,62}(?:/[^/.\0][^/\0]{0,62})*"
_PLAIN_PATH = re.compile(rf"{_PLAIN}\Z")
_PLAIN_PATHS = re.compile(rf"{_PLAIN}(?:\0{_PLAIN})*\Z")  # a NUL between them


def path_problem(path: str) -> str | None:  # noqa: PLR0911 - one for each reason
    """The reason why a path can't be a file below a folder, or None."""
    if not _NAMES_ARE_UTF8 and not path.isascii():
        encoding = sys.getfilesystemencoding()
        return f"it is not ASCII, and names of files are {encoding} in this locale: set PYTHONUTF8=1"
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


def temporary_name(path: str) -> str:
    """The name of a file until it is whole, in the same folder. The suffix keeps it apart from other objects' names."""
    name = path.rpartition("/")[2]
    suffix = f".{zlib.crc32(path.encode('utf-8', 'surrogateescape')):08x}{TEMPORARY_SUFFIX}"
    if len(name) > _SHORT_NAME and len(raw := os.fsencode(name)) + len(suffix) > MAX_NAME_BYTES:
        return os.fsdecode(raw[: MAX_NAME_BYTES - len(suffix)]) + suffix
    return name + suffix


def target_problem(path: str) -> str | None:
    """The reason why a path can't be written as a file below a folder, or None.

    Such a path is also the temporary name of another one, as of an unfinished download that was uploaded: the download
    of that one would take the file away.
    """
    if path.endswith(TEMPORARY_SUFFIX) and (found := _TEMPORARY.match(path)) and _is_of(found[1], path):
        return f"it is the temporary name of {found[1]!r}"
    return path_problem(path)


def is_temporary(path: str) -> bool:
    """True for the temporary file of a download. `path` is the whole one: the download's folder may be any above it.

    The checksum in the name is compared, so that no other file with such a suffix is meant.
    """
    if not path.endswith(TEMPORARY_SUFFIX) or (found := _TEMPORARY.match(path)) is None:
        return False
    segments = found[1].split("/")
    return any(_is_of("/".join(segments[depth:]), path) for depth in range(len(segments)))


def _is_of(path: str, temporary: str) -> bool:
    """True for the temporary name of a path. A name that is as long as can be was cut, and can't be compared."""
    name = temporary.rpartition("/")[2]
    return temporary_name(path) == name or len(os.fsencode(name)) == MAX_NAME_BYTES


def are_plain(paths: Sequence[str]) -> bool:
    """True where all paths are allowed at first sight. False: check each of them."""
    joined = "\0".join(paths)
    return (
        TEMPORARY_SUFFIX not in joined
        and joined.count("\0") == len(paths) - 1
        and _PLAIN_PATHS.match(joined) is not None
        and (_NAMES_ARE_UTF8 or joined.isascii())
    )
