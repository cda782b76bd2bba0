"""compare: the objects of two sides against each other: what differs, is missing, is extra, or can't be proven."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from bulkpresign.aws import AwsSession
from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener, RunFinished, RunStarted
from bulkpresign.http.client import Transport
from bulkpresign.pipeline.run.config import TransferConfig, config_of
from bulkpresign.pipeline.sources.items import Items
from bulkpresign.pipeline.sources.named_files import check_named_files
from bulkpresign.pipeline.sources.sources import Source
from bulkpresign.pipeline.verification.counts import Counts, Extras, VerifyReport
from bulkpresign.pipeline.verification.differences import results
from bulkpresign.pipeline.verification.digests import ReadPlan
from bulkpresign.pipeline.verification.pairs import PairComparer
from bulkpresign.pipeline.verification.sides import Endpoint, Side, side_of
from bulkpresign.source.filters import Filters

#: The most bytes that are read to compare objects, unless told otherwise.
MAX_READ = 10 << 30


async def compare(
    source: Source | Items,
    destination: Source | Items,
    *,
    bucket: str | None = None,
    from_format: str | None = None,
    literal: bool = False,
    filters: Filters | None = None,
    max_read: int | None = MAX_READ,
    metadata: bool = False,
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
    source_endpoint_url: str | None = None,
    source_region_name: str | None = None,
    source_profile_name: str | None = None,
    destination_endpoint_url: str | None = None,
    destination_region_name: str | None = None,
    destination_profile_name: str | None = None,
    executor: str | Executor | None = None,
    listeners: Sequence[Listener] = (),
    extras: Extras | None = None,
    announce: Callable[[ReadPlan], object] = lambda _: None,
) -> VerifyReport:
    """Compares every object of `source` with that of the same path in `destination`.

    Each is `s3://bucket/prefix/`, a folder, or a manifest of objects or links; links, objects and urls in any iterable
    as well. The path of an object is its key after the prefix, its path below the folder, or the `path` of its row.

    Objects are compared by size, and by a checksum or etag if both have one of the same kind. A file is hashed. For
    others that are listed, servers are asked for a checksum, by a HEAD request. The rest is read, from both sides, and
    compared by sha256; an object with a known checksum of all its bytes is not read. At most `max_read` bytes are read
    (None: any number); objects beyond that are unproven. `announce` is told how much is read, before the first byte.

    With `metadata`, objects with the same bytes are compared by what copies keep as well: content type, cache control,
    content disposition, content encoding, content language, expiry, metadata and tags. Each is asked for by a HEAD
    request on both sides, and by one for its tags, with credentials: links are not asked. What is not told is unproven.

    `filters` select the objects that are compared: by name on both sides, and by the size and time of the source's
    object. An object that `destination` alone has needs to pass by its own.

    `differences` names a manifest for objects that differ, are missing, extra or unproven: columns `difference` and
    `reason`. `extras` hears of every object that `destination` alone has. The settings of the server and
    credentials are for both sides; those with `source_` and `destination_` replace them for one. `request_payer` is
    `requester` for a bucket that wants it, `session` an `aioboto3.Session`. `concurrency` requests are in flight
    (None: as many as the run finds to be fastest), and as many files are hashed (None: one for each CPU). The
    workers of an `executor` (see `get`) read the objects; files are hashed here.

    Raises InputError for a side that can't be used or listed, and BreakerError where all requests fail the same way.
    """
    settings = config_of(config, concurrency=concurrency, attempts=attempts, limit_rate=limit_rate, transport=transport)

    def side(given: Source | Items, url: str | None, region: str | None, profile: str | None) -> Side:
        endpoint = Endpoint(
            url or endpoint_url,
            region or region_name,
            profile or profile_name,
            addressing_style=addressing_style,
            request_payer=request_payer,
            session=session,
        )
        return side_of(
            given,
            endpoint,
            settings,
            bucket=bucket,
            from_format=from_format,
            literal=literal,
            ca_bundle=ca_bundle,
        )

    first = side(source, source_endpoint_url, source_region_name, source_profile_name)
    second = side(destination, destination_endpoint_url, destination_region_name, destination_profile_name)
    second.name = "the destination"
    return await compare_sides(
        first,
        second,
        config=settings,
        filters=filters,
        max_read=max_read,
        metadata=metadata,
        differences=differences,
        ca_bundle=ca_bundle,
        listeners=listeners,
        extras=extras,
        announce=announce,
        executor=executor,
    )


async def compare_sides(
    first: Side,
    second: Side,
    *,
    config: TransferConfig,
    filters: Filters | None,
    max_read: int | None,
    differences: str | os.PathLike[str] | None,
    ca_bundle: str | None,
    listeners: Sequence[Listener],
    extras: Extras | None,
    announce: Callable[[ReadPlan], object],
    metadata: bool = False,
    executor: str | Executor | None = None,
) -> VerifyReport:
    """Compares two sides; see `compare`."""
    if filters is not None:
        check_filters(filters)
        first.select(filters)
        second.select(filters, must_have_values=False)
    check_named_files([*first.tables, *second.tables], differences, option="--differences")
    counts = Counts(listeners)
    with results(differences, counts, extras) as found:
        counts.emit(RunStarted("verify"))
        try:
            comparer = PairComparer(
                first,
                second,
                found,
                counts.emit,
                config=config,
                max_read=max_read,
                threads=config.concurrency or os.cpu_count() or 1,
                ca_bundle=ca_bundle,
                metadata=metadata,
                executor=executor,
            )
            await comparer.run(announce)
        finally:
            counts.report.left_out = first.left_out + second.left_out
            counts.emit(RunFinished(counts.report))
    return counts.report


def check_filters(filters: Filters) -> None:
    """Raises ParameterError for filters by number: what is compared, or certified, is all that passes the others."""
    if (filters.limit, filters.sample) != (None, None):
        raise ParameterError("limit and sample are for verify of a folder's files: sides and certificates are whole")
