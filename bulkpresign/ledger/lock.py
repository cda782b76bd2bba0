"""The lock of a journal's file: one run at a time may write it."""

import fcntl
import os
from pathlib import Path

from bulkpresign.errors import JournalError

_HEADER_BYTES = 100  # SQLite treats a file that is shorter than its header as empty


def lock_file(file: Path) -> int:
    """Creates the file if necessary and locks it. Returns the descriptor; closing it releases the lock.

    Raises JournalError for a file that is locked by another process, can't be written, or is truncated.
    """
    try:
        # The lock is on the journal itself, so that no lock file is left behind.
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_writable(file, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if 0 < os.fstat(descriptor).st_size < _HEADER_BYTES:
            raise JournalError(f"the journal {file} is damaged: move it away to start anew")
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise JournalError(f"{file} is in use by another run: wait for its end, or end it") from error
        if isinstance(error, OSError):
            raise _not_writable(file, error) from error
        raise
    return descriptor


def lock_for_reading(file: Path) -> int:
    """Keeps runs from writing the file. Returns the descriptor; closing it releases the lock.

    Raises JournalError for a file that is in use or can't be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise JournalError(f"the journal {file} can't be read: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise JournalError(f"{file} is in use by another run: wait for its end, or end it") from error
    return descriptor


def _not_writable(file: Path, error: OSError) -> JournalError:
    return JournalError(f"the journal {file} can't be written: {error.strerror}; see --journal")
