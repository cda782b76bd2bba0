"""The work of jobs, by the types of their source and their target."""

from functools import cached_property

from bulkpresign.errors import ParameterError
from bulkpresign.http.callback_connection import MAX_WHOLE_BODY
from bulkpresign.http.client import DirectRequest
from bulkpresign.http.clock import Clock
from bulkpresign.model import Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.copies.copier import Copier
from bulkpresign.transfer.copies.plain import PlainCopies
from bulkpresign.transfer.copies.settings import CopySettings
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads.digest import DigestReader
from bulkpresign.transfer.downloads.download import Downloader
from bulkpresign.transfer.downloads.memory import MemoryReader
from bulkpresign.transfer.downloads.plain import PlainDownloads
from bulkpresign.transfer.downloads.plain_gets import PlainGets
from bulkpresign.transfer.downloads.plain_reads import PlainReads
from bulkpresign.transfer.engine.jobs import Digest, Job, LocalFile, Memory, MultipartUpload, Nothing, RenewableLink
from bulkpresign.transfer.engine.plain_jobs import PlainJob
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.workers import Work
from bulkpresign.transfer.spec import TransferSpec
from bulkpresign.transfer.uploads.large_files import LargeFileUploader
from bulkpresign.transfer.uploads.multipart import MultipartUploader
from bulkpresign.transfer.uploads.plain import PlainUploads
from bulkpresign.transfer.uploads.requests import UploadAborter
from bulkpresign.transfer.uploads.single import Uploader

#: Small objects are plain jobs: see `engine.plain_jobs`. Tests turn it off, to compare.
USES_PLAIN_JOBS = True


class Transfers:
    """The work of a job, by its source and its target. Each kind is made when the first job needs it."""

    def __init__(
        self,
        spec: TransferSpec,
        context: TransferContext,
        folder: Folder | None,
        coordinator: Coordinator,
        clock: Clock,
    ) -> None:
        self._spec, self._context, self._coordinator, self._clock = spec, context, coordinator, clock
        self._open_folder = folder
        self.http = context.http

    @property
    def has_plain_work(self) -> bool:
        """True where small objects can be plain jobs: our own client sends, and the settings ask for no wait."""
        spec = self._spec
        return USES_PLAIN_JOBS and self.http.can_send_each and spec.limit_rate is None and not spec.fsync

    def prepare(self, job: Job) -> PlainJob | None:
        """The job ready to be sent, None for one that needs the general path: see PlainWork."""
        if isinstance(job.target, LocalFile):
            return self._plain_downloads.prepare(job)
        if isinstance(job.target, Memory | Digest):
            return self._plain_reads.prepare(job)
        return self._plain_uploads.prepare(job) if isinstance(job.source, LocalFile) else None

    async def go_on(self, job: Job, renewer: LinkRenewer, sent: DirectRequest) -> Outcome:
        """Moves the object of a job whose request was sent as a plain job: see PlainWork."""
        match job.target:
            case LocalFile():
                return await self._download.go_on(job, renewer, sent)
            case Memory():
                return await self._read.go_on(job, renewer, sent)
            case Digest():
                return await self._digest.go_on(job, renewer, sent)
        return await self._upload.go_on(job, renewer, sent)

    @cached_property
    def _plain_gets(self) -> PlainGets:
        bounds = (self._spec.max_object_size, self._spec.part_size)
        most = min((bound for bound in bounds if bound is not None), default=MAX_WHOLE_BODY)
        return PlainGets(self.http, self._clock, most)

    @cached_property
    def _plain_downloads(self) -> PlainDownloads:
        return PlainDownloads(self._plain_gets, self._folder)

    @cached_property
    def _plain_reads(self) -> PlainReads:
        return PlainReads(self._plain_gets, self._coordinator.receive)

    @cached_property
    def _plain_uploads(self) -> PlainUploads:
        return PlainUploads(self._context, self._folder, self._coordinator, self._clock)

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Runs one job. Raises TransferError where it fails."""
        transfer: Work
        match job.source, job.target:
            case RenewableLink(), LocalFile():
                transfer = self._download
            case LocalFile(), RenewableLink():
                transfer = self._upload
            case LocalFile(), MultipartUpload():
                transfer = self._large_files
            case RenewableLink(), RenewableLink() | MultipartUpload():
                transfer = self._copy
            case RenewableLink(), Memory():
                transfer = self._read
            case RenewableLink(), Digest():
                transfer = self._digest
            case Nothing(), RenewableLink():
                transfer = self._abort
            case _:
                raise TypeError(f"no transfer from {type(job.source).__name__} to {type(job.target).__name__}")
        return await transfer(job, renewer)

    @cached_property
    def _download(self) -> Downloader:
        spec = self._spec
        return Downloader(
            self._context,
            self._folder,
            self._coordinator,
            part_size=spec.part_size,
            part_concurrency=spec.part_concurrency,
            if_exists=spec.if_exists,
            max_object_size=spec.max_object_size,
            rechecks=spec.rechecks,
            fsync=spec.fsync,
        )

    @cached_property
    def _upload(self) -> Uploader:
        return Uploader(self._context, self._folder, self._coordinator)

    @cached_property
    def _multipart(self) -> MultipartUploader:
        return MultipartUploader(self._context, self._coordinator, self._spec.part_concurrency)

    @cached_property
    def _large_files(self) -> LargeFileUploader:
        return LargeFileUploader(self._folder, self._coordinator, self._multipart)

    @cached_property
    def _copy(self) -> Copier:
        spec, context, coordinator = self._spec, self._context, self._coordinator
        settings = CopySettings(spec.part_size, spec.copies_on_server, spec.copy_digest, tags=spec.copies_tags)
        uses_plain = USES_PLAIN_JOBS and spec.limit_rate is None
        plain = PlainCopies(context, coordinator, self._clock, settings) if uses_plain else None
        return Copier(context, coordinator, self._multipart, settings, plain)

    @property
    def uploads_left_open(self) -> int:
        """Multipart uploads that were created and neither completed nor aborted."""
        return self._multipart.left_open if "_multipart" in self.__dict__ else 0

    @cached_property
    def _read(self) -> MemoryReader:
        return MemoryReader(self._context, self._coordinator, self._spec.max_object_size or 0)

    @cached_property
    def _digest(self) -> DigestReader:
        return DigestReader(self._context, self._coordinator)

    @cached_property
    def _abort(self) -> UploadAborter:
        return UploadAborter(self._context)

    @property
    def _folder(self) -> Folder:
        if self._open_folder is None:
            raise ParameterError("the specification names no folder, and a job has a local file")
        return self._open_folder
