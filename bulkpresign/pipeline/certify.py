"""Certificates of objects: writes them, checks buckets and folders against them, and proves single rows."""

import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing

import anyio.lowlevel
from anyio import from_thread

from bulkpresign.aws import AwsSession
from bulkpresign.checksums import expected_digest
from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener, ObjectFinished, RunFinished, RunStarted, broadcast
from bulkpresign.http.client import Transport
from bulkpresign.model import ObjectRef, Outcome, Report
from bulkpresign.pipeline.compare import check_filters, compare_sides
from bulkpresign.pipeline.run.config import TransferConfig, config_of
from bulkpresign.pipeline.sources.items import Items
from bulkpresign.pipeline.sources.named_files import check_named_files
from bulkpresign.pipeline.sources.renewals import ChecksumMode
from bulkpresign.pipeline.sources.sources import Source
from bulkpresign.pipeline.verification.counts import Extras, VerifyReport
from bulkpresign.pipeline.verification.digests import ReadPlan, read_digests
from bulkpresign.pipeline.verification.entries import Entry, path_of
from bulkpresign.pipeline.verification.sides import CertificateSide, Endpoint, FolderSide, ObjectSide, Side, side_of
from bulkpresign.pipeline.verification.threads import map_in_threads
from bulkpresign.proof.certificate import CertificateReader, CertificateRow, CertificateWriter, Proof
from bulkpresign.proof.hashing import FileHasher, FileProblem
from bulkpresign.source.filters import Filters
from bulkpresign.tables import open_output
from bulkpresign.tables.files import check_output
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.jobs import Digest, Job

_BATCH, _BATCH_BYTES = 64, 16 << 20


async def write_certificate(
    source: Source | Items,
    file: str | os.PathLike[str],
    *,
    algorithm: str = "sha256",
    bucket: str | None = None,
    from_format: str | None = None,
    literal: bool = False,
    filters: Filters | None = None,
    config: TransferConfig | None = None,
    concurrency: int | None = None,
    attempts: int | None = None,
    limit_rate: int | None = None,
    transport: Transport | None = None,
    ca_bundle: str | None = None,
    endpoint_url: str | None = None,
    region_name: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    request_payer: str | None = None,
    session: AwsSession | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Reads every object of `source` once, and writes a certificate of their bytes to `file` (`.gz` compresses).

    `source` is `s3://bucket/prefix/`, a folder, a manifest of objects or links, or several of these but folders. The
    key of a row is the object's path: its key after the prefix, or its path below the folder. The root is the same from
    any machine, and whatever the order or the parts in which the bytes are read. `filters` select among the objects, by
    name, size and time. `request_payer` is `requester` for a bucket that wants it, and `session` an `aioboto3.Session`.

    A certificate is written only if all objects can be read; the others are `failed`. Raises InputError for a source
    that can't be used, for two objects with one path, and for a key that is not UTF-8.
    """
    settings = config_of(config, concurrency=concurrency, attempts=attempts, limit_rate=limit_rate, transport=transport)
    side = side_of(
        source,
        Endpoint(endpoint_url, region_name, profile_name, addressing_style, request_payer, session),
        settings,
        bucket=bucket,
        from_format=from_format,
        literal=literal,
        ca_bundle=ca_bundle,
    )
    check_named_files(side.tables, file, option="--write-certificate")
    check_output(os.fspath(file))  # before all objects are read
    if filters is not None:
        check_filters(filters)
        side.select(filters)
    with CertificateWriter(algorithm) as writer:
        return await _Certifying(side, writer, algorithm, listeners).run(os.fspath(file), settings, ca_bundle)


async def verify_certificate(
    source: Source | Items,
    file: str | os.PathLike[str],
    *,
    max_read: int | None = None,
    bucket: str | None = None,
    from_format: str | None = None,
    literal: bool = False,
    filters: Filters | None = None,
    differences: str | os.PathLike[str] | None = None,
    config: TransferConfig | None = None,
    concurrency: int | None = None,
    attempts: int | None = None,
    limit_rate: int | None = None,
    transport: Transport | None = None,
    ca_bundle: str | None = None,
    endpoint_url: str | None = None,
    region_name: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    request_payer: str | None = None,
    session: AwsSession | None = None,
    listeners: Sequence[Listener] = (),
    extras: Extras | None = None,
    announce: Callable[[ReadPlan], object] = lambda _: None,
) -> VerifyReport:
    """Compares every object of `source` with the certificate in `file`; see `write_certificate` and `compare`.

    An object is read, unless its size differs or its row has a checksum of the certificate's algorithm. A certificate
    that is cut or altered is refused before that: raises ManifestError. `filters` select by name and size, which is
    that of the certificate's row where there is one. A certificate has no times.
    """
    if filters is not None and (filters.newer_than, filters.older_than) != (None, None):
        raise ParameterError("a filter by time is not for a certificate, which has no times")
    settings = config_of(config, concurrency=concurrency, attempts=attempts, limit_rate=limit_rate, transport=transport)
    side = side_of(
        source,
        Endpoint(endpoint_url, region_name, profile_name, addressing_style, request_payer, session),
        settings,
        bucket=bucket,
        from_format=from_format,
        literal=literal,
        ca_bundle=ca_bundle,
    )
    return await compare_sides(
        CertificateSide(CertificateReader(os.fspath(file))),
        side,
        config=settings,
        filters=filters,
        max_read=max_read,
        differences=differences,
        ca_bundle=ca_bundle,
        listeners=listeners,
        extras=extras,
        announce=announce,
    )


def prove(file: str | os.PathLike[str], key: str) -> Proof:
    """The proof that the row of `key` belongs to the certificate in `file`.

    Raises ParameterError if there is no such row, and ManifestError for a certificate that is cut or altered.
    """
    return CertificateReader(os.fspath(file)).prove(key)


class _Certifying:
    """Reads all objects of a side into a certificate."""

    def __init__(self, side: Side, writer: CertificateWriter, algorithm: str, listeners: Sequence[Listener]) -> None:
        self._side, self._writer, self._algorithm = side, writer, algorithm
        self._emit = broadcast(listeners)
        self._report = Report(verb="verify")

    async def run(self, file: str, config: TransferConfig, ca_bundle: str | None) -> Report:
        began, report = time.monotonic(), self._report
        self._emit(RunStarted("verify"))
        try:
            async with AsyncExitStack() as stack:
                await self._side.collect(stack, self._emit)
                for _ in self._side:  # raises for two objects with one path
                    pass
                if isinstance(self._side, FolderSide):
                    await self._hash_files(self._side.folder, config.concurrency or os.cpu_count() or 1)
                else:
                    await self._read(self._side, config, ca_bundle)
            if not report.failed:
                with open_output(file) as output:
                    report.certificate = self._writer.write(output)
        finally:
            report.seconds, report.left_out = time.monotonic() - began, self._side.left_out
            self._emit(RunFinished(report))
        return report

    async def _rows(self) -> AsyncGenerator[list[tuple[Entry, str]], None]:
        """All rows, in batches of 64 or 16 MiB."""
        batch: list[tuple[Entry, str]] = []
        size = 0
        for key, entry in self._side:
            if entry.is_left_out:
                continue
            batch.append((entry, path_of(key)))
            size += entry.size or 0
            if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
                await anyio.lowlevel.checkpoint()
        if batch:
            yield batch

    async def _read(self, side: Side, config: TransferConfig, ca_bundle: str | None) -> None:
        """Reads the objects, whose bytes are verified on the way as far as that can be."""
        assert isinstance(side, ObjectSide)  # noqa: S101 - it is no folder
        side.checksum_mode = ChecksumMode()
        await read_digests(
            self._jobs(side),
            self._take_read,
            self._emit,
            config,
            ca_bundle,
            presigner=await side.presigner(),
            checksum_mode=side.checksum_mode,
        )

    async def _jobs(self, side: ObjectSide) -> AsyncGenerator[list[Job], None]:
        async for batch in self._rows():
            yield [Job(link, Digest(self._algorithm)) for link in await side.links(batch)]

    def _take_read(self, outcome: Outcome) -> None:
        self._report.unproven += outcome.is_unproven
        self._take(outcome)

    async def _hash_files(self, folder: Folder, threads: int) -> None:
        hash_files = FileHasher(folder.open_source, folder.file, self._algorithm, from_thread.check_cancelled)

        def hashed(batch: list[tuple[Entry, str]]) -> list[ObjectRef | FileProblem]:
            return hash_files([entry.ref(path) for entry, path in batch])

        def take(batch: list[tuple[Entry, str]], found: list[ObjectRef | FileProblem]) -> None:
            for (entry, path), ref in zip(batch, found, strict=True):
                self._take(_outcome(entry.ref(path), ref))

        async with aclosing(self._rows()) as batches:
            await map_in_threads(batches, hashed, take, threads)

    def _take(self, outcome: Outcome) -> None:
        """Takes the outcome of one object: a row, or a failure."""
        ref, report = outcome.object, self._report
        if outcome.status == "done":
            report.done += 1
            report.bytes += outcome.bytes
            self._writer.add([CertificateRow(ref.file_path, outcome.bytes, expected_digest(ref).digest)])
        else:
            report.failed += 1
        self._emit(ObjectFinished(outcome))


def _outcome(ref: ObjectRef, found: ObjectRef | FileProblem) -> Outcome:
    """The outcome of a file that was hashed."""
    if isinstance(found, FileProblem):
        return Outcome(ref, "failed", code="Unreadable", message=found.problem)
    return Outcome(found, "done", found.size or 0)
