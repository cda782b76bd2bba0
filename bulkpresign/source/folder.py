"""Lists the files of a local folder as objects to upload."""

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
    """The files below a folder, sorted by name, in batches. The key of an object is the prefix plus its path.

    Symbolic links to files are followed when they are read. A link to a folder is not followed, because it could be a
    loop; it is listed as a file, so that the run reports it as unreadable. Raises ListingError for a folder that can't
    be read.
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
    except OSError:  # deleted, or a broken link: the upload reports it, with its name
        size = None
    content_type, encoding = mimetypes.guess_type(path)
    return ObjectRef(bucket, prefix + path, size=size, content_type=None if encoding else content_type, path=path)
