"""Uploads a file in parts."""

from bulkpresign.errors import StorageError
from bulkpresign.model import Outcome, Upload
from bulkpresign.text import counted
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.jobs import Job, LocalFile, MultipartUpload
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.uploads.body import FileParts, OpenFile, opened
from bulkpresign.transfer.uploads.multipart import MultipartUploader
from bulkpresign.transfer.uploads.parts import PartProgress


class LargeFileUploader:
    """Uploads files that lie below a folder, in parts."""

    def __init__(self, folder: Folder, coordinator: Coordinator, uploader: MultipartUploader) -> None:
        self._folder, self._coordinator, self._uploader = folder, coordinator, uploader

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Uploads the file of one job. Raises TransferError where it fails."""
        source, target = job.source, job.target
        assert isinstance(source, LocalFile)  # noqa: S101 - as the dispatch has it
        assert isinstance(target, MultipartUpload)  # noqa: S101 - likewise
        upload, find_present, context = target.upload, self._coordinator.find_present, self._uploader.context
        with opened(self._folder, source.path) as file:
            _check_size(upload, file)
            parts = FileParts(file, context)
            progress = PartProgress(upload.complete, job.checkpoint, parts, context.emit)
            if find_present is not None and not progress.is_open:  # an open upload has to be completed
                present = await find_present(upload.complete, source.path)
                if present is not None:
                    return present
            sent = await self._uploader.send(target, parts, progress, renewer)
            evidence = file.evidence(sent.etag, part_size=sent.part_size)
        ref = upload.object
        return Outcome(ref, "done", file.size, sent.attempts, sent.verified_by, link=upload.complete, evidence=evidence)


def _check_size(upload: Upload, file: OpenFile) -> None:
    """Raises StorageError where the upload is for a file of another size."""
    if upload.object.size != file.size:
        message = f"{file.name} has {counted(file.size, 'byte')}, its upload is for {upload.object.size or 0:,}"
        raise StorageError(message, code="FileChanged")
