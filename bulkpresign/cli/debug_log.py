"""The debug log of the package on standard error, for `-vv`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bulkpresign.cli.messages import say


class _SayHandler(logging.Handler):
    """Says each record, line by line; under `--progress json` as an object with the event `log`."""

    def emit(self, record: logging.LogRecord) -> None:
        for line in record.getMessage().splitlines():
            say(line, record.levelname.lower(), "log", logger=record.name)


@contextmanager
def debug_log() -> Iterator[None]:
    """Shows what the loggers below `bulkpresign` say, from the level debug on."""
    logger, handler = logging.getLogger("bulkpresign"), _SayHandler()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
