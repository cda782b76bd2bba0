"""The command line: one file a verb, each of which parses, calls the pipeline and prints."""

import gc
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    import click

#: New objects until they are looked through for garbage. Python's 700 are fewer than most of the modules bring that we
#: import, and all of those stay: it would be looked for dozens of times in vain before the first request.
_GC_THRESHOLD = 50_000


def main() -> None:
    """The entry point `bulkpresign`."""
    _fill_missing_streams()
    gc.set_threshold(_GC_THRESHOLD)
    try:
        from bulkpresign.cli.app import app

        if _asks_for_json(sys.argv):
            _run_in_json(app)
        app(prog_name="bulkpresign")
    except KeyboardInterrupt:
        _leave(130)
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else 0)


def _asks_for_json(words: Sequence[str]) -> bool:
    return "--progress=json" in words or ("--progress", "json") in pairwise(words)


def _run_in_json(app: "click.Group") -> NoReturn:
    """Runs a command line under `--progress json`, where an error of usage is a JSON object, as every line is."""
    from click import ClickException

    from bulkpresign.cli.saying import console, say

    console.is_json = True
    try:
        sys.exit(app.main(prog_name="bulkpresign", standalone_mode=False) or 0)
    except ClickException as error:
        say(error.format_message(), "error")
        sys.exit(error.exit_code)


def _leave(code: int) -> NoReturn:
    """Ends the process at once: whatever had to be closed is.

    Python would take every module apart, which is of no use, and would wait for a thread that reads standard input.
    """
    if not _is_flushed(sys.stdout):
        code = code or 1
    _is_flushed(sys.stderr)  # a run is what it is, whether somebody reads of it or not
    os._exit(code)


def _is_flushed(stream: TextIO | None) -> bool:
    """False where the rest of a stream can't be written; None is a stream that was closed from the start."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):  # nobody reads it
        return False
    return True


def _fill_missing_streams() -> None:
    """Takes descriptors 0 to 2 where they are closed: the first file or socket opened would pass for one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
    if sys.stderr is None:  # messages go nowhere then
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - it stays open, and pathlib takes its time
