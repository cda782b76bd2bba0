"""Reading files in small blocks."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bulkpresign.tables import files


@contextmanager
def block_size(size: int) -> Iterator[None]:
    """Files are read in blocks of `size` bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BLOCK_SIZE", size)
        yield
