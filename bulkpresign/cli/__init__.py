"""The command line: one file a verb, each of which parses, calls the pipeline and prints."""

import gc
import os
import sys
from typing import NoReturn

#: Hardly anything of ours is garbage that only a collection finds; Python would look for it every 700 objects.
_OBJECTS_A_COLLECTION = 50_000


def main() -> None:
    """The entry point `bulkpresign`."""
    gc.set_threshold(_OBJECTS_A_COLLECTION)
    _fill_missing_streams()
    try:
        from bulkpresign.cli.app import app

        app(prog_name="bulkpresign")
    except KeyboardInterrupt:
        _leave(130)
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else 0)


def _leave(code: int) -> NoReturn:
    """Ends the process at once: whatever had to be closed is.

    Python would take every module apart, which takes a fifth of the time to start, and would wait for a thread that
    reads standard input.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it
            code = code or 1
    os._exit(code)


def _fill_missing_streams() -> None:
    """Takes descriptors 0 to 2 where they are closed: the first file or socket opened would pass for one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
