"""Adds the checksums of local files to the rows that will be signed: the server then refuses any other bytes."""

import os
from collections.abc import Callable, Sequence
from itertools import count

import anyio
import anyio.to_thread
from anyio import from_thread

from bulkpresign.errors import InputError, ParameterError
from bulkpresign.model import ObjectRef
from bulkpresign.proof.hashing import FileHasher, FileProblem
from bulkpresign.tasks import run_workers
from bulkpresign.transfer.disk.folder import Folder

#: The algorithms that S3 accepts in a header of an upload (docs: "Checking object integrity").
ALGORITHMS = ("crc64nvme", "crc32c", "crc32", "sha256", "sha1")

_FILES_AT_A_TIME = 8
#: Makes the error for a row: by its index, the problem, and the column if there is one.
MakeError = Callable[[int, str, str | None], InputError]


class HashedFiles:
    """Computes the sizes and checksums of files below a folder, in one thread for each CPU, 1 MiB in each.

    Raises ParameterError for an algorithm that S3 does not accept in uploads.
    """

    def __init__(self, folder: Folder, algorithm: str, accepted: Sequence[str] = ALGORITHMS) -> None:
        if algorithm not in accepted:
            raise ParameterError(f"checksum {algorithm!r} is not one of {', '.join(accepted)}")
        self._threads = os.cpu_count() or 1
        self._limiter: anyio.CapacityLimiter | None = None
        self._summer = FileHasher(folder.open_source, folder.file, algorithm, from_thread.check_cancelled)

    async def __call__(self, refs: list[ObjectRef]) -> list[ObjectRef | FileProblem]:
        """Each object with the size and checksum of its file, or the problem with it."""
        self._limiter = self._limiter or anyio.CapacityLimiter(self._threads)
        starts = count(0, _FILES_AT_A_TIME)
        results: dict[int, list[ObjectRef | FileProblem]] = {}

        async def worker() -> None:
            while some := refs[(start := next(starts)) : start + _FILES_AT_A_TIME]:
                results[start] = await anyio.to_thread.run_sync(self._summer, some, limiter=self._limiter)

        await run_workers(self._threads, worker)
        return [it for start in sorted(results) for it in results[start]]


class HashedSource:
    """Adds the size and checksum of files below a folder to the objects of a source.

    Raises ParameterError for an algorithm that S3 does not accept in uploads, and for a missing folder.
    """

    def __init__(self, folder: str | os.PathLike[str], algorithm: str) -> None:
        root = Folder(folder)
        self._files = HashedFiles(root, algorithm)
        root.require()

    async def __call__(self, refs: list[ObjectRef], error: MakeError) -> list[ObjectRef]:
        """The objects with size and checksum. Raises the `error` of the first row whose file does not match it."""
        return [_fit(error, index, it) for index, it in enumerate(await self._files(refs))]


def _fit(error: MakeError, index: int, result: ObjectRef | FileProblem) -> ObjectRef:
    if isinstance(result, FileProblem):
        raise error(index, result.problem, result.column)
    return result
