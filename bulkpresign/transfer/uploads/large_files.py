"""Uploads a file in parts."""

from bulkpresign.errors import MismatchError, StorageError
from bulkpresign.model import Outcome, Upload
from bulkpresign.text import counted
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.jobs import Job, LocalFile, MultipartUpload
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.uploads.body import FileParts, OpenFile, PartChecksums, opened
from bulkpresign.transfer.uploads.multipart import MultipartUploader, PartsSent
from bulkpresign.transfer.uploads.parts import CHECKSUM_ALGORITHM, PartProgress


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
            parts = FileParts(file, context, self._checksums(upload))
            progress = PartProgress(upload.complete, job.checkpoint, parts, context.emit)
            if find_present is not None and not progress.is_open:  # an open upload has to be completed
                present = await find_present(upload.complete, source.path)
                if present is not None:
                    return present
            sent = await self._uploader.send(target, parts, progress, renewer)
            checksum = _compared(sent, parts, progress)
        evidence = file.evidence(sent.etag, checksum, sent.part_size)
        verified_by = sent.verified_by if checksum is None else checksum.partition(":")[0]
        return Outcome(
            upload.object, "done", file.size, sent.attempts, verified_by, link=upload.complete, evidence=evidence
        )

    def _checksums(self, upload: Upload) -> PartChecksums | None:
        """The checksums that the parts of an upload are sent with, None where it asks for none of all bytes."""
        sign, asked = self._coordinator.sign_part, upload.complete.headers.get(CHECKSUM_ALGORITHM)
        return None if sign is None or asked is None else PartChecksums(asked.lower(), sign)


def _compared(sent: PartsSent, parts: FileParts, progress: PartProgress) -> str | None:
    """The checksum of all bytes as `algorithm:base64`, if the server has the same. None where it computed none.

    Raises MismatchError where it differs: the next run trusts no part that is recorded.
    """
    ours = parts.whole_checksum
    algorithm, _, value = (ours or "").partition(":")
    found = sent.checksums.get(algorithm)
    if found is None or "-" in found:  # some servers compute one of the parts all the same
        return None
    if found != value:
        if progress.point is not None:
            progress.reset(progress.point)
        raise MismatchError(f"the object has {algorithm} {found}, the file {value}", code="ChecksumMismatch")
    return ours


def _check_size(upload: Upload, file: OpenFile) -> None:
    """Raises StorageError where the upload is for a file of another size."""
    if upload.object.size != file.size:
        message = f"{file.name} has {counted(file.size, 'byte')}, its upload is for {upload.object.size or 0:,}"
        raise StorageError(message, code="FileChanged")
