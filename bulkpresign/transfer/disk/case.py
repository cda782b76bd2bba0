"""Whether names in a folder differ by case. On macOS, Windows and many network drives they do not."""

import os
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bulkpresign.transfer.disk.paths import TEMPORARY_SUFFIX

_MOST_LOOKED_AT = 1000


def ignores_case(folder: Path) -> bool:
    """True if names that differ only by case are one file in a folder, or in its nearest parent that exists.

    A name that is there shows that, or else a temporary file. If none can be made, the answer is False.
    """
    try:
        existing = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
        if (name := next(_names_with_case(existing), None)) is not None:
            return _is_one_file(name)
        with tempfile.NamedTemporaryFile(prefix=".Case-", suffix=TEMPORARY_SUFFIX, dir=existing) as probe:
            return _is_one_file(Path(probe.name))
    except OSError:
        return False


def _names_with_case(folder: Path) -> Iterator[Path]:
    """Paths on the file system of a folder with a name of which both cases can be looked up."""
    real = folder.resolve()
    with os.scandir(real) as entries:
        inside = [real / entry.name for entry in islice(entries, _MOST_LOOKED_AT)]
    for path in inside + ([] if real.is_mount() else [real]):
        if path.name.isascii() and path.name.swapcase() != path.name:
            yield path


def _is_one_file(path: Path) -> bool:
    try:
        return os.path.samestat(path.lstat(), path.with_name(path.name.swapcase()).lstat())
    except FileNotFoundError:
        return False
