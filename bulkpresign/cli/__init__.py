"""The command line: one file a verb, each of which parses, calls the pipeline and prints."""

import os
import sys

_STOPPED = frozenset({130, 143})


def main() -> None:
    """The entry point `bulkpresign`."""
    _fill_missing_streams()
    from bulkpresign.cli.app import app

    try:
        app(prog_name="bulkpresign")
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as ended:
        if ended.code in _STOPPED:  # a thread may still wait for standard input, and would keep us
            os._exit(ended.code)
        raise


def _fill_missing_streams() -> None:
    """Takes descriptors 0 to 2 where they are closed: the first file or socket opened would pass for one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
