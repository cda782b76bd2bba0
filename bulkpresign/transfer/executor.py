"""Runs jobs in this process, as a serialisable specification says.

This is the seam to other executors: a worker process needs a TransferSpec, a batch of jobs, and a listener for the
events that it sends back. It holds no credentials, and writes no journal.
"""

from collections.abc import AsyncIterator, Sequence
from functools import cached_property

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.model import Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads.download import PART_SIZE, Downloader
from bulkpresign.transfer.downloads.existing import IfExists
from bulkpresign.transfer.downloads.memory import MemoryReader
from bulkpresign.transfer.downloads.part_concurrency import PartConcurrencyTuner
from bulkpresign.transfer.engine.jobs import Job, LocalFile, Memory, MultipartUpload, Nothing, RenewableLink
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.workers import Engine
from bulkpresign.transfer.uploads.multipart import MultipartUploader
from bulkpresign.transfer.uploads.requests import UploadAborter
from bulkpresign.transfer.uploads.single import Uploader


class TransferSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a run's transfers, as data.

    `folder` is where local files are, absolute. At most `concurrency` objects and `requests` requests are in flight.
    `limit_rate` is bytes a second. The others are those of `get` and `put`; sizes are bytes.
    """

    folder: str = ""
    concurrency: int = 64
    requests: int = 64
    part_size: int = PART_SIZE
    part_concurrency: int = 1
    attempts: int = 5
    limit_rate: int | None = None
    if_exists: IfExists = "replace"
    max_object_size: int | None = None
    rechecks: bool = False
    fsync: bool = False
    keeps_checkpoints: bool = False
    ca_bundle: str | None = None


class Statistics(msgspec.Struct, frozen=True):
    """Counts of a run: slowdowns by a server, the fewest requests allowed then, and uploads that are left open."""

    slowed: int
    lowest_concurrency: int
    uploads_left_open: int


class LocalExecutor:
    """Runs jobs in this process.

    `http` and its `clock` are open. `folder` is that of the specification where it is open already.
    """

    def __init__(
        self, spec: TransferSpec, emit: Listener, *, http: HttpClient, clock: Clock, folder: Folder | None = None
    ) -> None:
        self._spec, self._clock = spec, clock
        self._folder = Folder(spec.folder) if folder is None and spec.folder else folder
        self._limiter = AdaptiveLimiter(spec.requests, spec.limit_rate)
        tuner = PartConcurrencyTuner(spec.part_concurrency)
        #: The means of this run's transfers, also for the coordinator's own requests.
        self.context = TransferContext(http, emit, self._limiter, spec.attempts, tuner, spec.keeps_checkpoints)
        self._uploads_left_open = 0

    async def run(self, queue: JobQueue, coordinator: Coordinator) -> None:
        """Runs to the end of the queue. An object's failure is an outcome; raises BreakerError."""
        transfers = _Transfers(self._spec, self.context, self._folder, coordinator)
        try:
            await Engine(queue, transfers, self.context.emit, self._clock).run(self._spec.concurrency)
        finally:
            self._uploads_left_open = transfers.uploads_left_open

    @property
    def statistics(self) -> Statistics:
        """The counts of the run."""
        return Statistics(self._limiter.slowed, self._limiter.lowest, self._uploads_left_open)


class _Transfers:
    """The work of a job, by its source and its target. Each kind is made when the first job needs it."""

    def __init__(
        self, spec: TransferSpec, context: TransferContext, folder: Folder | None, coordinator: Coordinator
    ) -> None:
        self._spec, self._context, self._coordinator = spec, context, coordinator
        self._open_folder = folder

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        match job.source, job.target:
            case RenewableLink(), LocalFile():
                return await self.download(job, renewer)
            case LocalFile(), RenewableLink():
                return await self.upload(job, renewer)
            case LocalFile(), MultipartUpload():
                return await self.multipart(job, renewer)
            case RenewableLink(), Memory():
                return await self.read(job, renewer)
            case Nothing(), RenewableLink():
                return await self.abort(job, renewer)
            case _:
                raise TypeError(f"no transfer from {type(job.source).__name__} to {type(job.target).__name__}")

    @cached_property
    def download(self) -> Downloader:
        spec = self._spec
        return Downloader(
            self._context,
            self._folder,
            self._coordinator,
            part_size=spec.part_size,
            if_exists=spec.if_exists,
            max_object_size=spec.max_object_size,
            rechecks=spec.rechecks,
            fsync=spec.fsync,
        )

    @cached_property
    def upload(self) -> Uploader:
        return Uploader(self._context, self._folder, self._coordinator)

    @cached_property
    def multipart(self) -> MultipartUploader:
        return MultipartUploader(self._context, self._folder, self._coordinator, self._spec.part_concurrency)

    @property
    def uploads_left_open(self) -> int:
        """Multipart uploads that were created and neither completed nor aborted."""
        return self.multipart.left_open if "multipart" in self.__dict__ else 0

    @cached_property
    def read(self) -> MemoryReader:
        return MemoryReader(self._context, self._coordinator, self._spec.max_object_size or 0)

    @cached_property
    def abort(self) -> UploadAborter:
        return UploadAborter(self._context)

    @property
    def _folder(self) -> Folder:
        if self._open_folder is None:
            raise ParameterError("the specification names no folder, and a job has a local file")
        return self._open_folder


async def run_batch(
    spec: TransferSpec, jobs: Sequence[Job], emit: Listener, coordinator: Coordinator | None = None
) -> Statistics:
    """Runs some jobs to their end, with connections of its own; `emit` gets their events and outcomes.

    A job whose link expires, and has no function that renews it, ends with the outcome `expired`.
    """
    clock = Clock()
    async with HttpClient(spec.requests, clock, spec.ca_bundle) as http:
        executor = LocalExecutor(spec, emit, http=http, clock=clock)
        await executor.run(JobQueue(_one(jobs)), coordinator or Coordinator())
    return executor.statistics


async def _one(jobs: Sequence[Job]) -> AsyncIterator[Sequence[Job]]:
    yield jobs
