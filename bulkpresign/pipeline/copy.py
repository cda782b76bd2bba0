"""copy: objects go from bucket to bucket, through GET links and PUT links, with nothing on disk."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack

from bulkpresign.aws import AwsSession
from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener, check_listeners
from bulkpresign.http.client import Transport
from bulkpresign.model import Report
from bulkpresign.pipeline.run.config import TransferConfig, config_of
from bulkpresign.pipeline.run.copies import Destination, prefix_of
from bulkpresign.pipeline.run.copying import Copying
from bulkpresign.pipeline.run.run import Run
from bulkpresign.pipeline.run.sides import Sides
from bulkpresign.pipeline.sources.items import Items
from bulkpresign.pipeline.sources.named_files import check_named_files, check_output
from bulkpresign.pipeline.sources.sources import Source, Sources
from bulkpresign.pipeline.verification.copies import CopyCertificate
from bulkpresign.pipeline.verification.digests import ReadPlan
from bulkpresign.signing.headers import check_headers
from bulkpresign.signing.parts import check_part_size
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.filters import Filters
from bulkpresign.source.key_map import KeyMap
from bulkpresign.tables.columns import DST_URL
from bulkpresign.transfer.downloads.existing import IfExists, check_if_exists


async def copy(
    source: Source | Items,
    destination: str | None = None,
    *,
    bucket: str | None = None,
    filters: Filters | None = None,
    maps: Sequence[str] = (),
    config: TransferConfig | None = None,
    concurrency: int | None = None,
    max_concurrency: int | None = None,
    part_size: int | None = None,
    part_concurrency: int | None = None,
    attempts: int | None = None,
    limit_rate: int | None = None,
    limit: int | None = None,
    transport: Transport | None = None,
    headers: Mapping[str, str] | None = None,
    if_exists: IfExists = "replace",
    recheck: bool = False,
    relay: bool = False,
    tags: bool = True,
    extra: str | os.PathLike[str] | None = None,
    certificate: str | os.PathLike[str] | None = None,
    algorithm: str = "sha256",
    failures: str | os.PathLike[str] | None = None,
    journal: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    plan: str | os.PathLike[str] | None = None,
    renew_credentials: bool = False,
    renew_command: str | None = None,
    renew_url: str | None = None,
    ca_bundle: str | None = None,
    expires_in: int = 3600,
    from_format: str | None = None,
    literal: bool = False,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: AwsSession | None = None,
    source_region_name: str | None = None,
    source_endpoint_url: str | None = None,
    source_profile_name: str | None = None,
    request_payer: str | None = None,
    source_presigner: Presigner | None = None,
    destination_region_name: str | None = None,
    destination_endpoint_url: str | None = None,
    destination_profile_name: str | None = None,
    destination_presigner: Presigner | None = None,
    executor: str | Executor | None = None,
    listeners: Sequence[Listener] = (),
    announce: Callable[[ReadPlan], object] = lambda _: None,
) -> Report:
    """Copies all objects of `source` to `destination`, `s3://bucket/prefix/`, with nothing on disk.

    Without a `destination`, `source` is a table of links with the columns `dst_url` and `dst_headers`, which `sign`
    with `to` makes: then no credentials are needed. Renewal is for the links of both sides.

    `source` is what `get` takes: `s3://...`, tables of objects or of GET links, links, or any iterable of them. The key
    of a copy is the destination's prefix and the object's path, which `maps` rewrites (see `KeyMap`). `filters` select
    among the objects. Two objects for one key, and a destination inside of a source, are errors before anything is
    copied.

    A copy has the content type, cache control, content disposition, content encoding, content language, expiry,
    metadata and tags of its object, and its checksum: one of all bytes, in parts where that is a CRC, or one of parts.
    Its bytes are verified by the object's checksum or etag before the last of them is sent, and by the etag and the
    checksum of the copy. `headers` are signed into the PUT links as well, such as `x-amz-storage-class`, `x-amz-acl` or
    `x-amz-tagging`, and replace the object's.

    The tags of an object that has some are read by one more request, which needs credentials for its server; copies
    that may lack them are counted as `untagged` in the report. If `tags` is False, none are copied, and the server
    makes no copies itself: it would copy them as well.

    Where `source` has `s3://` locations, the destination is listed first, and copies with the size and etag of their
    object are skipped; so is what the journal records as done, unless object or copy changed since. `if_exists` says
    what becomes of other copies: `replace`, `keep` or `fail`. `journal` is `BUCKET.copy.journal` in the current folder
    by default, with the destination's bucket.

    A list with neither etags nor checksums, such as one of keys, can't tell that an object changed after it was copied.
    With `recheck`, the source is asked about each such object, by one conditional request. Without it, they are skipped
    because of the journal, which `skipped_by` in the report names then.

    `extra` is a manifest for objects at the destination that no source has; they are never touched. With `dry_run`
    nothing is copied, and the report has a `plan`. The file `plan` is then the manifest of the objects that would be
    copied, with their paths as they are rewritten.

    `certificate` is the file for a certificate of all copies, in which a key is relative to the destination's prefix:
    see `write_certificate`. Digests by `algorithm` are computed of the bytes as they pass. Copies in parts, copies that
    the server makes, copies of which only the size could be verified, and objects that are there already are read once
    from the destination, at the end; `announce` is told how many, before that. A digest in the journal is used again.
    An object that `keep` leaves has the digest of its own bytes. Nothing is written if an object failed, or if a copy
    can't be read: it is `uncertified` in the report, and the next run reads it.

    With one server and one set of credentials for both sides, the server makes the copies itself; `relay` prevents it,
    and so does `request_payer`, which is `requester` for a source that wants it.

    `region_name`, `endpoint_url`, `profile_name`, `addressing_style` and `session` are for both sides; those that start
    with `source_` and `destination_` are for one side. `source_presigner` and `destination_presigner` are open
    Presigners. `config`, the keywords beside it and `executor` are those of `get`; copies in parts are made by this
    process. An object that was uploaded in parts is copied in the same parts; otherwise objects over 64 MiB are copied
    in parts, unless only an md5 of all their bytes can verify them. `part_size` (bytes, 5 MiB to 5 GiB) is for all
    larger objects. Memory is at most 1 MiB for each copy in flight, or part of one, and four parts of up to 16 MiB of
    objects with a checksum of parts: larger parts are sent without.

    A failed object is counted in the report. Raises InputError for invalid input before any request, BreakerError if
    everything fails the same way or the journal can't be written any more, and OutputError if the failures file can't
    be written.
    """
    check_if_exists(if_exists)
    check_listeners(listeners)
    config = config_of(
        config,
        concurrency=concurrency,
        max_concurrency=max_concurrency,
        part_size=part_size,
        part_concurrency=part_concurrency,
        attempts=attempts,
        limit_rate=limit_rate,
        limit=limit,
        transport=transport,
    )
    if config.part_size is not None:
        check_part_size(config.part_size)
    target = None if destination is None else Destination(prefix_of(destination), KeyMap(maps))
    if (headers or recheck or not tags) and target is None:
        raise ParameterError(
            "headers, recheck and tags are for copies to s3://bucket/prefix/: LINKS have the headers that sign signed"
        )
    check_headers(headers)
    if plan is not None and (target is None or not dry_run):
        raise ParameterError("plan is for a dry run to s3://bucket/prefix/")
    if extra is not None and (target is None or limit is not None or filters is not None):
        raise ParameterError("extra needs a destination that is listed, and all objects of the sources: no filter")
    certified = None
    if certificate is not None:
        if target is None or config.limit is not None or dry_run:
            raise ParameterError(
                "a certificate is of all copies to s3://bucket/prefix/: not of links, and without limit or dry run"
            )
        certified = CopyCertificate(certificate, algorithm, target, announce)
    sources = Sources(
        source,
        bucket=bucket,
        from_format=from_format,
        literal=literal,
        no_links=None,
        takes_items=True,
        filters=filters,
    )
    check_named_files(sources.tables, failures, journal)
    check_output(sources.tables, extra, "--extra")
    check_output(sources.tables, plan, "--plan")
    check_named_files(sources.tables, certificate, journal, option="--certificate")
    if sources.items is None:
        await sources.begin()
    if target is None and sources.items is None and sources.need_credentials:
        raise ParameterError(f"copy needs s3://bucket/prefix/, or a table of links with a column {DST_URL}")
    sides = Sides(
        source_presigner,
        destination_presigner,
        both={
            "region_name": region_name,
            "endpoint_url": endpoint_url,
            "profile_name": profile_name,
            "addressing_style": addressing_style,
            "session": session,
            "expires_in": expires_in,
            "ca_bundle": ca_bundle,
        },
        source={
            "region_name": source_region_name,
            "endpoint_url": source_endpoint_url,
            "profile_name": source_profile_name,
            "request_payer": request_payer,
        },
        destination={
            "region_name": destination_region_name,
            "endpoint_url": destination_endpoint_url,
            "profile_name": destination_profile_name,
        },
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sides)
        if sources.items is not None:
            await sources.begin(stack)
        heard: Sequence[Listener] = listeners
        if certified is not None:
            heard = [*listeners, stack.enter_context(certified)]
        run = await stack.enter_async_context(
            Run("copy", config=config, ca_bundle=ca_bundle, failures=failures, listeners=heard, executor=executor)
        )
        copying = Copying(
            stack,
            run,
            sources,
            sides,
            renewal=(renew_credentials, renew_command, renew_url),
            journal=journal,
            dry_run=dry_run,
            listeners=listeners,
            ca_bundle=ca_bundle,
        )
        if target is None:
            return await copying.by_links()
        return await copying.to_bucket(
            target,
            if_exists,
            headers or {},
            recheck=recheck,
            relay=relay,
            tags=tags,
            extra=extra,
            plan=plan,
            certified=certified,
        )
