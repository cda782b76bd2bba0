"""Uploads a file through a PUT link, in one request."""

from bulkpresign.http.client import DirectRequest
from bulkpresign.model import Evidence, Link, Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.uploads.body import FileBody, opened
from bulkpresign.transfer.uploads.store import Stored, store


class Uploader:
    """Uploads files below a folder, each in one request."""

    def __init__(self, context: TransferContext, folder: Folder, coordinator: Coordinator) -> None:
        self._context = context
        self._folder = folder
        self._coordinator = coordinator

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Uploads the file of one job. Raises TransferError if it fails."""
        return await self.go_on(job, renewer, None)

    async def go_on(self, job: Job, renewer: LinkRenewer, sent: DirectRequest | None) -> Outcome:
        """Uploads the file of one job, whose first request may have been sent already, in a slot of the limiter."""
        source, target = job.source, job.target
        assert isinstance(source, LocalFile)  # noqa: S101 - the dispatch selects by these types
        assert isinstance(target, RenewableLink)  # noqa: S101 - likewise
        if target.object.is_folder_marker:
            message = "a folder marker has no file"
            return Outcome(target.object, "skipped", attempts=0, message=message, link=target.link)
        find_present, end_upload = self._coordinator.find_present, self._coordinator.end_upload
        outcome = None if find_present is None else await find_present(target.link, source.path)
        if outcome is None:
            first = iter((sent,))
            outcome = await renewer.call(target, lambda link: self._upload(source.path, link, next(first, None)))
        if job.checkpoint is not None and job.checkpoint.point.part_size and end_upload is not None:
            await end_upload(job.object, job.checkpoint.point)  # the file was larger in an earlier run
        return outcome

    async def _upload(self, path: str, link: Link, sent: DirectRequest | None) -> Outcome:
        first = iter((sent,))
        (stored, evidence), attempts = await self._context.retried(
            lambda: self._send(path, link, next(first, None)), link.object, sent
        )
        verified_by = stored.verified_by
        return Outcome(link.object, "done", evidence.size, attempts, verified_by, link=link, evidence=evidence)

    async def _send(self, path: str, link: Link, sent: DirectRequest | None) -> tuple[Stored, Evidence]:
        """Makes one attempt. Returns the response of the server, and the evidence to record."""
        context = self._context
        with opened(self._folder, path) as file:
            stored = await store(context.http, link, FileBody(file, context.emit, context.limiter), sent)
            return stored, file.evidence(stored.etag, stored.checksum)
