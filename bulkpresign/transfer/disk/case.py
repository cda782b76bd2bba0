"""Whether names in a folder differ by case. On macOS, Windows and many network drives they do not."""

import tempfile
from pathlib import Path


def ignores_case(folder: Path) -> bool:
    """True if names that differ only by case are one file in a folder, or in its nearest parent that exists.

    A temporary file in it shows that. If none can be made, the answer is False.
    """
    try:
        existing = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
        with tempfile.NamedTemporaryFile(prefix=".Case-", dir=existing) as probe:
            return (existing / Path(probe.name).name.swapcase()).exists()
    except OSError:
        return False
