"""The objects that may be in flight, where the process may open a limited number of files."""

import os
import resource

#: Of one object in flight: its connection, its file, and the folder of that.
_FILES_OF_AN_OBJECT = 3
#: Files that are open for a moment now and then: imports, look-ups of hosts, SQLite's temporary files.
_SPARE = 5
_USUALLY_OPEN = 16


def affordable_objects() -> int | None:
    """The objects that can be in flight at once, at least one; None where any number can."""
    limit = open_files_limit()
    if limit is None:
        return None
    return max(1, (limit - _open_now() - _SPARE) // _FILES_OF_AN_OBJECT)


def open_files_limit() -> int | None:
    """The number of files that this process may open, None for any number."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _open_now() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - it is counted, not looked at
    except OSError:  # not Linux
        return _USUALLY_OPEN
