"""Lists everything below a folder, in constant memory."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple


class FolderEntry(NamedTuple):
    """A file below a folder, or a folder that can't be read: its path in bytes, and the problem or None."""

    path: bytes
    problem: str | None = None


def walk(folder: str | os.PathLike[str]) -> Iterator[FolderEntry]:
    """Everything below a folder that is not a folder, unsorted: files, symbolic links (not followed), pipes.

    A folder that can't be read is an entry with its problem. One folder per level of depth is open at a time, and no
    list of names is in memory, so a folder may have millions of files.
    """
    root = os.fsencode(folder)
    open_folders: list[_OpenFolder] = []
    try:
        yield from _open_folder(root, b"", open_folders)
        while open_folders:
            below, entries = open_folders[-1]
            entry: os.DirEntry[bytes] | None = next(entries, None)
            if entry is None:
                open_folders.pop()
            elif entry.is_dir(follow_symlinks=False):
                yield from _open_folder(entry.path, below + entry.name + b"/", open_folders)
            else:
                yield FolderEntry(below + entry.name)
    finally:
        for left in open_folders:
            left.entries.close()


class _OpenFolder(NamedTuple):
    below: bytes
    entries: Any  # the iterator of os.scandir; its type is not public


def _open_folder(folder: bytes, below: bytes, open_folders: list[_OpenFolder]) -> Iterator[FolderEntry]:
    try:
        open_folders.append(_OpenFolder(below, os.scandir(folder)))
    except OSError as error:
        yield FolderEntry(below, error.strerror or type(error).__name__)
