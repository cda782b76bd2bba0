"""Which paths can be files below a folder.

POSIX stores a key under its own bytes, so no name is changed. A path that can't be stored as it is, is refused.
"""

import os
import re
import sys
from collections.abc import Sequence

#: The longest name of a file, in bytes, on the file systems in use.
MAX_NAME_BYTES = 255
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


def are_plain(paths: Sequence[str]) -> bool:
    """True where all paths are allowed at first sight. False: check each of them."""
    joined = "\0".join(paths)
    return (
        joined.count("\0") == len(paths) - 1
        and _PLAIN_PATHS.match(joined) is not None
        and (_NAMES_ARE_UTF8 or joined.isascii())
    )
