"""The command line: one file a verb, each of which parses, calls the pipeline and prints."""

import gc
import os
import sys
from typing import NoReturn, TextIO

#: New objects until they are looked through for garbage. Python's 700 are fewer than most of the modules bring that we
#: import, and all of those stay: it would be looked for dozens of times in vain before the first request.
_GC_THRESHOLD = 50_000


def main() -> None:
    """The entry point `bulkpresign`."""
    _fill_missing_streams()
    gc.set_threshold(_GC_THRESHOLD)
    try:
        from bulkpresign.cli.app import app

        app(prog_name="bulkpresign")
    except KeyboardInterrupt:
        _leave(130)
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else 0)


def _leave(code: int) -> NoReturn:
    """Ends the process at once: whatever had to be closed is.

    Python would take every module apart, which is of no use, and would wait for a thread that reads standard input.
    """
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)  # None: closed from the start
    for stream in streams:
        try:
            if stream is not None:
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
    if sys.stderr is None:  # messages go nowhere then
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - it stays open, and pathlib takes its time
