"""The checksum of a local file, for links that let no other bytes through. No async: callers bring a thread."""

import os
import stat
from collections.abc import Callable

import msgspec

from bulkpresign.checksums import base64_of, descriptor_blocks, hasher
from bulkpresign.errors import NameRefusedError
from bulkpresign.model import ObjectRef
from bulkpresign.text import counted


class FileProblem(msgspec.Struct, frozen=True):
    """Why a row and its file don't belong together, and the row's column that says so."""

    problem: str
    column: str | None = None


class FileHasher:
    """Takes size and checksum of objects from their files; several threads may use it.

    `open_file` gives a descriptor of the file at a path, and raises NameRefusedError or OSError; `file_name` gives its
    full name; `read` is called after each block of 1 MiB.
    """

    def __init__(
        self,
        open_file: Callable[[str], int],
        file_name: Callable[[str], str],
        algorithm: str,
        read: Callable[[], object],
    ) -> None:
        self._open_file, self._file_name, self._algorithm, self._read = open_file, file_name, algorithm, read

    def __call__(self, refs: list[ObjectRef]) -> list[ObjectRef | FileProblem]:
        """For each object itself with its file's size and checksum, or why it can't have them."""
        return [self._one(ref) for ref in refs]

    def _one(self, ref: ObjectRef) -> ObjectRef | FileProblem:
        file = self._file_name(ref.file_path)
        try:
            size, checksum = self._summed(ref.file_path)
        except NameRefusedError as error:
            return FileProblem(str(error))
        except OSError as error:
            return FileProblem(f"{file} can't be read: {error.strerror}")
        if size is None:
            return FileProblem(f"{file} is not a file")
        if ref.size is not None and ref.size != size:
            return FileProblem(f"{file} has {counted(size, 'byte')}, the row says {ref.size:,}", "size")
        if ref.checksum and ref.checksum != checksum and ref.checksum.startswith(f"{self._algorithm}:"):
            return FileProblem(f"{file} has {checksum}, the row says {ref.checksum}", "checksum")
        return msgspec.structs.replace(ref, size=size, checksum=checksum)

    def _summed(self, path: str) -> tuple[int | None, str]:
        """The size of a file (None: it is none) and its checksum. Nothing but a file is waited for."""
        digest, size = hasher(self._algorithm), 0
        descriptor = self._open_file(path)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None, ""
            for block in descriptor_blocks(descriptor):
                digest.update(block)
                size += len(block)
                self._read()
        finally:
            os.close(descriptor)
        return size, f"{self._algorithm}:{base64_of(digest.digest())}"
