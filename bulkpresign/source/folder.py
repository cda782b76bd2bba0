"""The files of a folder as objects to be uploaded."""

import mimetypes
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bulkpresign.errors import ListingError
from bulkpresign.model import ObjectRef

_BATCH = 256


def folder_objects(folder: Path, bucket: str, prefix: str) -> Iterator[list[ObjectRef]]:
    """The regular files below a folder, in the order of their names; key is the prefix and the path.

    Symbolic links to files are followed where they are read. One to a folder is not, so that no walk goes in circles;
    it comes as a file that can't be read, for nothing may be left out in silence.
    Raises ListingError where a folder can't be read.
    """
    files = (_object(entry, path, bucket, prefix) for entry, path in _files(folder, ""))
    while batch := list(islice(files, _BATCH)):
        yield batch


def _files(folder: Path, below: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ListingError(f"{folder} can't be read: {error.strerror}") from error
    for entry in ordered:
        path = below + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name, f"{path}/")
        elif entry.is_file() or entry.is_symlink():
            yield entry, path


def _object(entry: os.DirEntry[str], path: str, bucket: str, prefix: str) -> ObjectRef:
    try:
        found = entry.stat()
        size = found.st_size if stat.S_ISREG(found.st_mode) else None
    except OSError:  # gone, or a link to nowhere: whoever reads it says so, with its name
        size = None
    content_type, encoding = mimetypes.guess_type(path)
    return ObjectRef(bucket, prefix + path, size=size, content_type=None if encoding else content_type, path=path)
