"""The command line: one module per verb. Each parses the arguments, calls the pipeline and prints the result."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    import click

#: The threshold of the garbage collector. The imports make more than 100,000 objects: by Python's default of 700 it
#: would run dozens of times before the first request, and find nothing.
GC_THRESHOLD = 200_000


def main() -> None:
    """The entry point `bulkpresign`."""
    _fill_missing_streams()
    gc.set_threshold(GC_THRESHOLD)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave_at_once)
    try:
        from bulkpresign.cli.app import app

        _run(app)
    except KeyboardInterrupt:
        _leave(130)
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else 0)


def _leave_at_once(*_: object) -> NoReturn:
    """Ends the process at Ctrl-C during imports: Python drops a KeyboardInterrupt in their callbacks, and goes on."""
    os._exit(130)


def take_interrupts() -> None:
    """Has Ctrl-C raise KeyboardInterrupt from now on, for a verb that has something to clean up and no handler."""
    if signal.getsignal(signal.SIGINT) is _leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _asks_for_json(words: Sequence[str]) -> bool:
    return "--progress=json" in words or ("--progress", "json") in pairwise(words)


def _run(app: "click.Group") -> NoReturn:
    """Runs the command line, and exits. A usage error has its exit code also where it can't be printed.

    With `--progress json`, a usage error is printed as a JSON object.
    """
    from click import Abort, ClickException, echo

    is_json = _asks_for_json(sys.argv)
    if is_json:
        from bulkpresign.cli.messages import console, say

        console.is_json = True
    try:
        sys.exit(app.main(prog_name="bulkpresign", standalone_mode=False) or 0)
    except Abort:  # Ctrl-C
        sys.exit(130)
    except ClickException as error:
        with suppress(OSError):  # a full disk
            if is_json:
                say(error.format_message(), "error")
            else:
                _show(error)
        sys.exit(error.exit_code)
    except OSError as error:  # a help text on a full disk
        if error.filename is not None:  # not standard output
            raise
        with suppress(OSError):
            echo(f"error: standard output can't be written: {error.strerror}", err=True)
        sys.exit(2)


def _show(error: "click.ClickException") -> None:
    """Prints a usage error. It repeats a word that it can't use, which may be a link."""
    from click import echo

    from bulkpresign.redact import without_secrets

    text = StringIO()
    error.show(text)
    echo(without_secrets(text.getvalue()), nl=False, err=True)


def _leave(code: int) -> NoReturn:
    """Ends the process at once, after everything was closed.

    A normal exit of Python destroys every module first, and waits for a thread that reads standard input.
    """
    if not _is_flushed(sys.stdout):
        code = code or 1
    _is_flushed(sys.stderr)  # does not change the exit code
    os._exit(code)


def _is_flushed(stream: TextIO | None) -> bool:
    """False if the rest of a stream can't be written. None is a stream that is closed from the start."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):  # the reader closed the pipe
        return False
    return True


def _fill_missing_streams() -> None:
    """Opens descriptors 0 to 2 if they are closed. Otherwise the first file or socket would get one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
    if sys.stderr is None:  # drops the messages
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - it stays open, and pathlib is slow to import
