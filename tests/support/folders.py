"""Files in a folder, as tests write and read them."""

from contextlib import suppress
from pathlib import Path


def names_in(folder: Path) -> list[str]:
    """The names of all entries, sorted."""
    return sorted(entry.name for entry in folder.iterdir())


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder, by path. A file that a run renames meanwhile is left out."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def write_all(folder: Path, bodies: dict[str, bytes]) -> None:
    """Writes each body to its path, and makes the folders."""
    for path, body in bodies.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
