"""A file in the folder of a run, by which workers elsewhere see that it is the same folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bulkpresign.errors import ParameterError


@contextmanager
def marked(folder: str, run: str) -> Iterator[str]:
    """Has the file while the block runs; gives its name. Raises ParameterError where it can't be written."""
    name = f".bulkpresign-{run}"
    file = os.path.join(folder, name)  # noqa: PTH118
    try:
        with open(file, "x"):  # noqa: PTH123
            pass
    except OSError as error:
        raise ParameterError(f"{folder} can't be written: {error.strerror}") from error
    try:
        yield name
    finally:
        with suppress(OSError):
            os.unlink(file)  # noqa: PTH108


def check_mark(folder: str, mark: str) -> None:
    """Raises ParameterError where the file is missing."""
    if not os.path.exists(os.path.join(folder, mark)):  # noqa: PTH110, PTH118
        raise ParameterError(
            f"{folder} is not the folder of the run: it is missing there, or another one of that name; "
            "workers write to a folder that all of them share"
        )
