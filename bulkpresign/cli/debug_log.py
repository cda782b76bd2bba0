"""Log records on standard error: the debug log of the package for `-vv`, and the warnings of botocore."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bulkpresign.cli.messages import say
from bulkpresign.redact import redacted

#: Both log where credentials can't be refreshed. Without a handler, Python prints that with a traceback.
_LIBRARIES = ("botocore", "aiobotocore")


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


class _WarningHandler(logging.Handler):
    """Says warnings in one line with their cause, each kind once: a refresh that fails is tried again at each batch."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind, cause = str(record.msg), record.exc_info and record.exc_info[1]
        if kind not in self._said:
            self._said.add(kind)
            text = record.getMessage() if cause is None else f"{record.getMessage().rstrip('.')}: {cause}"
            say(redacted(text.strip()), "warning")


@contextmanager
def library_warnings() -> Iterator[None]:
    """Shows what botocore warns of, such as credentials that will expire and can't be refreshed."""
    handler = _WarningHandler()
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
