"""Upload in parts: PUT links in parallel, then one request that makes an object of them.

The links come from a manifest, or were signed when the upload was opened.
"""

from collections.abc import Mapping
from typing import NamedTuple

from bulkpresign.errors import MismatchError, TransferError
from bulkpresign.model import Upload
from bulkpresign.tasks import finish_soon
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.engine.jobs import MultipartUpload
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.uploads.parts import PartProgress, PartSource
from bulkpresign.transfer.uploads.parts_upload import PartsUpload, ServerEtags


class PartsSent(NamedTuple):
    """An object that was completed: the number of attempts, its etag, and the name of what verified it.

    `checksums` are those that the server computed, by algorithm, and `etag_kind` what it says of that: see Completed.
    `parts` is the number of its parts, and `parts_etag` the etag that these make at S3: some servers give another one.
    """

    attempts: int
    etag: str | None
    verified_by: str | None
    part_size: int
    checksums: Mapping[str, str]
    parts: int
    etag_kind: Mapping[str, str]
    parts_etag: str | None


class MultipartUploader:
    """Uploads the bytes of sources in parts.

    `part_concurrency` parts of each are in flight; None: as many as the limiter has room for.

    A part that fails is sent again. Where the object fails, the upload stays open for another run, unless we created it
    and no other run could do better.
    """

    def __init__(self, context: TransferContext, coordinator: Coordinator, part_concurrency: int | None) -> None:
        self.context = context
        #: Uploads that were created and neither completed nor aborted.
        self.left_open = 0
        self._part_concurrency = part_concurrency
        self._coordinator = coordinator
        self._server_etags = ServerEtags()

    async def send(
        self, target: MultipartUpload, source: PartSource, progress: "PartProgress", renewer: LinkRenewer
    ) -> PartsSent:
        """Sends the bytes of a source. Raises TransferError where it fails."""
        upload = target.upload
        is_opened_here = not upload.upload_id
        if is_opened_here:
            upload = await self._opened(upload, progress)
        target = MultipartUpload(upload, target.renew)
        sending = PartsUpload(
            self.context,
            target,
            renewer,
            source,
            progress,
            guard=self._coordinator.guard,
            server_etags=self._server_etags,
        )
        try:
            verified_by = await sending.run(self._part_concurrency)
        except TransferError as error:
            # parts that are not the object's are of no use: another attempt opens another upload
            await sending.give_up(error, aborts=is_opened_here and isinstance(error, MismatchError))
            raise
        finally:
            self.left_open += sending.is_open
        return PartsSent(
            sending.attempts,
            sending.etag,
            verified_by,
            upload.parts[0].size,
            sending.checksums,
            len(upload.parts),
            sending.etag_kind,
            sending.parts_etag,
        )

    async def _opened(self, upload: Upload, progress: "PartProgress") -> Upload:
        open_upload = self._coordinator.open_upload
        assert open_upload is not None  # noqa: S101 - a run that gives uploads without an id opens them

        async def open_it() -> Upload:
            found = await open_upload(upload, progress.point, progress.etags)
            progress.begin(found)
            self.left_open += 1
            return found

        opened = await finish_soon(open_it)
        self.left_open -= 1  # from here on `send` counts it
        return opened
