"""The command line: one file a verb, each of which parses, calls the pipeline and prints."""

import sys


def main() -> None:
    """The entry point `bulkpresign`."""
    from bulkpresign.cli.app import app

    try:
        app(prog_name="bulkpresign")
    except KeyboardInterrupt:
        sys.exit(130)
