"""The certificate of a run of copies. Only copies whose digest is unknown when the run ends are read."""

import os
from binascii import a2b_base64
from collections.abc import AsyncGenerator, Callable
from functools import partial
from itertools import islice
from typing import Self

from bulkpresign.checksums import expected_digest
from bulkpresign.errors import BreakerError
from bulkpresign.events import Event, Listener, ObjectFinished, ReadBackFailed
from bulkpresign.ledger.record import Record
from bulkpresign.model import Evidence, ObjectRef, Outcome, Report
from bulkpresign.pipeline.run.batches import Batches
from bulkpresign.pipeline.run.completed import CompletedFilter
from bulkpresign.pipeline.run.config import TransferConfig
from bulkpresign.pipeline.run.copies import Destination
from bulkpresign.pipeline.sources.renewals import ChecksumMode, by_signing
from bulkpresign.pipeline.verification.digests import ReadPlan, read_digests
from bulkpresign.proof.certificate import CertificateRow, CertificateWriter
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables import open_output
from bulkpresign.tables.files import check_output
from bulkpresign.tables.sorting import KeySorter
from bulkpresign.transfer.engine.jobs import Digest, Job, RenewableLink

#: Objects that are signed at a time.
_BATCH = 64


class CopyCertificate:
    """Takes copies as they end, and writes their certificate at the end of the run. Use as a context manager.

    It is a listener of the run, and receives the copies that end in it. `passing` adds those of earlier runs.
    A row has the path of the copy below the destination's prefix, and its digest: the one that was computed while the
    bytes were copied, in this run or an earlier one, as the journal has it. All other copies are read from the
    destination: those in parts, those that the server made, those that were there, and those of which nothing but the
    size was verified. The bytes of these must have the digest of those that were sent.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        algorithm: str,
        target: Destination,
        announce: Callable[[ReadPlan], object],
    ) -> None:
        """Raises ParameterError for an unknown algorithm, and OutputError for a file that can't be written."""
        self.algorithm = algorithm
        self._file, self._target, self._announce = os.fspath(file), target, announce
        self._writer = CertificateWriter(algorithm)
        self._unread = KeySorter(tuple[int | None, str | None, str | None])
        self._plan = ReadPlan()
        check_output(self._file)

    def __enter__(self) -> Self:
        self._writer.__enter__()
        self._unread.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._unread.__exit__(*exc_info)
        self._writer.__exit__(*exc_info)

    async def passing(self, jobs: Batches, completed: CompletedFilter) -> Batches:
        """The same jobs. Takes the copies that are `completed`: they have no outcome in this run."""
        async for batch in jobs:
            for job, record in zip(batch, completed.records([(job.object, job.link) for job in batch]), strict=True):
                if record is not None:
                    self._take(job.object, record, record.verified_by)
            yield batch

    def __call__(self, event: Event) -> None:
        """Takes a copy that ended."""
        if isinstance(event, ObjectFinished) and event.outcome.status in {"done", "skipped"}:
            self._take(event.outcome.object, event.outcome.evidence, event.outcome.verified_by)

    def _take(self, ref: ObjectRef, known: Evidence | Record | None, verified_by: str | None) -> None:
        """Takes the copy of an object, with what is known of it.

        The size, the etag and the digest of one that is read are checked, if they are known.
        """
        path = self._target.path(ref)
        size, etag, checksum = (known.size, known.etag, known.checksum) if known is not None else (None, None, None)
        algorithm, _, digest = (checksum or "").partition(":")
        is_ours = algorithm == self.algorithm
        if is_ours and size is not None and _is_proven(verified_by, size):
            self._writer.add([CertificateRow(path, size, a2b_base64(digest))])
            return
        self._unread.add([(path.encode(), (size, etag, checksum if is_ours else None))])
        self._plan.objects += 1
        self._plan.bytes += size or 0

    async def write(
        self, report: Report, *, presigner: Presigner, emit: Listener, config: TransferConfig, ca_bundle: str | None
    ) -> None:
        """Reads the copies without a digest, and writes the certificate, unless it would lack an object.

        `report` has the counts of the run so far, and gets the certificate. `presigner` signs for the destination. A
        copy that can't be read still counts as done: ReadBackFailed is `emit`ted. Raises BreakerError where all reads
        fail in the same way.
        """
        if self._plan.objects and _is_complete(report):
            self._announce(self._plan)
            take = partial(self._take_read, emit)
            try:
                mode = ChecksumMode()
                await read_digests(
                    self._jobs(presigner, mode),
                    take,
                    emit,
                    config,
                    ca_bundle,
                    presigner=presigner,
                    checksum_mode=mode,
                )
            except BreakerError as error:
                raise BreakerError(f"the copies can't be read for the certificate: {error}") from error
        if _is_complete(report):
            with open_output(self._file) as output:
                report.certificate = self._writer.write(output)

    async def _jobs(self, presigner: Presigner, mode: ChecksumMode) -> AsyncGenerator[list[Job], None]:
        bucket, prefix = self._target.location.bucket, self._target.location.key
        rows, renew = iter(self._unread), by_signing(presigner, mode)
        while batch := [(key.decode(), *known) for key, known in islice(rows, _BATCH)]:
            refs = [
                ObjectRef(bucket, prefix + path, size=size, etag=etag, checksum=checksum, path=path)
                for path, size, etag, checksum in batch
            ]
            await presigner.prepare(refs)
            links = presigner.sign_batch(refs, headers=mode.headers)
            yield [Job(RenewableLink(link, renew), Digest(self.algorithm)) for link in links]

    def _take_read(self, emit: Listener, outcome: Outcome) -> None:
        ref = outcome.object
        if outcome.status == "done":
            self._writer.add([CertificateRow(ref.file_path, outcome.bytes, expected_digest(ref).digest)])
        else:
            emit(ReadBackFailed(outcome))


def _is_proven(verified_by: str | None, size: int) -> bool:
    """True for a copy of `size` bytes that was verified. The size alone proves an empty one."""
    return verified_by is not None and (verified_by != "size" or size == 0)


def _is_complete(report: Report) -> bool:
    """True if no object failed, and every copy could be read that had to be."""
    return not (report.failed or report.expired or report.uncertified)
