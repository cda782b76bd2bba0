"""A file in the folder of a run, by which workers elsewhere see that it is the same folder."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bulkpresign.errors import ParameterError
from bulkpresign.transfer.disk.paths import temporary_name


@contextmanager
def marked(folder: str, owner: str = "") -> Iterator[str]:
    """Has the file while the block runs; gives the mark that workers check.

    Runs of one `owner`, such as a journal, follow one another, and each takes the file that a killed one left. Its name
    is that of a temporary file, which is no data for other verbs.
    Raises ParameterError where the file can't be written.
    """
    token = secrets.token_hex(8)
    name = temporary_name(f".bulkpresign-{hashlib.sha256(os.fsencode(owner)).hexdigest()[:16] if owner else token}")
    file = os.path.join(folder, name)  # noqa: PTH118
    try:
        with suppress(FileNotFoundError):
            os.unlink(file)  # noqa: PTH108
        with open(file, "x") as stream:  # noqa: PTH123
            stream.write(token)
    except OSError as error:
        raise ParameterError(f"{folder} can't be written: {error.strerror}") from error
    try:
        yield f"{name}:{token}"
    finally:
        with suppress(OSError):
            os.unlink(file)  # noqa: PTH108


def check_mark(folder: str, mark: str) -> None:
    """Raises ParameterError where the file is missing, or is that of another run."""
    name, _, token = mark.partition(":")
    with suppress(OSError), open(os.path.join(folder, name)) as stream:  # noqa: PTH118, PTH123
        if stream.read(100) == token:
            return
    raise ParameterError(
        f"{folder} is not the folder of the run: it is missing there, or another one of that name; "
        "workers write to a folder that all of them share"
    )
