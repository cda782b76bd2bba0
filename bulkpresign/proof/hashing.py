"""Computes the checksum of a local file, for links that sign it. Callers run this in a thread."""

import os
import stat
from collections.abc import Callable

import msgspec

from bulkpresign.checksums import base64_of, descriptor_blocks, hasher
from bulkpresign.errors import NameRefusedError
from bulkpresign.model import ObjectRef
from bulkpresign.text import counted


class FileProblem(msgspec.Struct, frozen=True):
    """The reason why a row and its file don't match, and the row's column that differs."""

    problem: str
    column: str | None = None


class FileHasher:
    """Adds the size and checksum of local files to their objects. Several threads may use it.

    `open_file` returns a descriptor of the file at a path, or raises NameRefusedError or OSError; `file_name` returns
    its full name; `on_block` is called after each block of 1 MiB.
    """

    def __init__(
        self,
        open_file: Callable[[str], int],
        file_name: Callable[[str], str],
        algorithm: str,
        on_block: Callable[[], object],
    ) -> None:
        self._open_file, self._file_name = open_file, file_name
        self._algorithm, self._on_block = algorithm, on_block

    def __call__(self, refs: list[ObjectRef]) -> list[ObjectRef | FileProblem]:
        """Each object with the size and checksum of its file, or the problem with it."""
        return [self._hashed(ref) for ref in refs]

    def _hashed(self, ref: ObjectRef) -> ObjectRef | FileProblem:
        file = self._file_name(ref.file_path)
        try:
            size, checksum = self._size_and_checksum(ref.file_path)
        except NameRefusedError as error:
            return FileProblem(str(error))
        except OSError as error:
            reason = "; ".join([str(error.strerror), *getattr(error, "__notes__", ())])
            return FileProblem(f"{file} can't be read: {reason}")
        if size is None:
            return FileProblem(f"{file} is not a file")
        if ref.size is not None and ref.size != size:
            return FileProblem(f"{file} has {counted(size, 'byte')}, the row says {ref.size:,}", "size")
        if ref.checksum and ref.checksum != checksum and ref.checksum.startswith(f"{self._algorithm}:"):
            return FileProblem(f"{file} has {checksum}, the row says {ref.checksum}", "checksum")
        return msgspec.structs.replace(ref, size=size, checksum=checksum)

    def _size_and_checksum(self, path: str) -> tuple[int | None, str]:
        """The size of a file and its checksum. The size is None for anything but a file, which is not read."""
        digest, size = hasher(self._algorithm), 0
        descriptor = self._open_file(path)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None, ""
            for block in descriptor_blocks(descriptor):
                digest.update(block)
                size += len(block)
                self._on_block()
        finally:
            os.close(descriptor)
        return size, f"{self._algorithm}:{base64_of(digest.digest())}"
