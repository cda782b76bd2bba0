"""Everything below a folder, in flat memory."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple


class Found(NamedTuple):
    """Something below a folder: its path, in the file system's own bytes, and why it can't be looked into, or None."""

    path: bytes
    problem: str | None = None


def walk(folder: str | os.PathLike[str]) -> Iterator[Found]:
    """All that is no folder, in no order: files, symbolic links (which are not followed), pipes.

    A folder that can't be read comes with its problem, for what is in it can't be told. Holds one open folder for each
    level of depth, and no list of names: ten million files in one folder are as good as ten.
    """
    root = os.fsencode(folder)
    open_folders: list[_OpenFolder] = []
    try:
        yield from _enter(root, b"", open_folders)
        while open_folders:
            below, entries = open_folders[-1]
            entry: os.DirEntry[bytes] | None = next(entries, None)
            if entry is None:
                open_folders.pop()
            elif entry.is_dir(follow_symlinks=False):
                yield from _enter(entry.path, below + entry.name + b"/", open_folders)
            else:
                yield Found(below + entry.name)
    finally:
        for left in open_folders:
            left.entries.close()


class _OpenFolder(NamedTuple):
    below: bytes
    entries: Any  # of os.scandir, whose type has no public name


def _enter(folder: bytes, below: bytes, open_folders: list[_OpenFolder]) -> Iterator[Found]:
    try:
        open_folders.append(_OpenFolder(below, os.scandir(folder)))
    except OSError as error:
        yield Found(below, error.strerror or type(error).__name__)
