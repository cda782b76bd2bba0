"""One run of `copy`: to a bucket, through links that are signed just in time, or through the links of rows."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from bulkpresign.errors import ParameterError, RefusedError
from bulkpresign.events import Listener, ObjectsSkipped
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import ObjectRef, Report
from bulkpresign.pipeline.run.batches import Batches
from bulkpresign.pipeline.run.completed import all_are_current, noting
from bulkpresign.pipeline.run.copies import Destination, PresentCopies
from bulkpresign.pipeline.run.guards import DestinationGuard
from bulkpresign.pipeline.run.journals import journal_of
from bulkpresign.pipeline.run.linked_copies import LinkedCopies, located_copies, placed
from bulkpresign.pipeline.run.multipart import MultipartCreator, MultipartResumer
from bulkpresign.pipeline.run.object_tags import read_tags, settle_tags
from bulkpresign.pipeline.run.part_sizes import ask_part_size
from bulkpresign.pipeline.run.planning import Planner, planned_objects
from bulkpresign.pipeline.run.preflight import Located, Totals, check, index_paths
from bulkpresign.pipeline.run.presigner import endpoint_of_bucket
from bulkpresign.pipeline.run.put_signer import PutSigner
from bulkpresign.pipeline.run.run import Run
from bulkpresign.pipeline.run.sides import Sides
from bulkpresign.pipeline.sources.links import links_of_sources
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.pipeline.sources.renewals import ChecksumMode, by_credentials, by_signing
from bulkpresign.pipeline.sources.sources import Sources
from bulkpresign.pipeline.verification.copies import CopyCertificate
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.location import Location
from bulkpresign.tables import Table
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.copies.tags import TAGGING
from bulkpresign.transfer.downloads.existing import IfExists
from bulkpresign.transfer.spec import TransferSpec

#: The headers that a server takes beside its copy of all others. With any other header, copies are relayed.
_OF_SERVER_COPIES = frozenset({"x-amz-storage-class", "x-amz-acl", "x-amz-server-side-encryption"})


class Copying:
    """One run of `copy`, in one of its forms."""

    def __init__(
        self,
        stack: AsyncExitStack,
        run: Run,
        sources: Sources,
        sides: Sides,
        *,
        renewal: tuple[bool, str | None, str | None],
        journal: str | os.PathLike[str] | None,
        dry_run: bool,
        listeners: Sequence[Listener],
        ca_bundle: str | None,
    ) -> None:
        self._stack, self._run, self._sources, self._sides = stack, run, sources, sides
        self._renew_credentials, self._renew_command, self._renew_url = renewal
        self._journal, self._dry_run, self._listeners = journal, dry_run, listeners
        self._ca_bundle = ca_bundle
        self._index = stack.enter_context(PathIndex())
        self._mode = ChecksumMode()
        self._listers: list[BucketLister] = []

    async def by_links(self) -> Report:
        """Copies through the GET links and PUT links of rows."""
        run, sources, sides = self._run, self._sources, self._sides
        beside = sources.tables[0].file if sources.tables else "links"
        opened = run.use_journal(journal_of(self._journal, "copy", beside, "its links"), all_are_current)
        if opened is not None:  # the destination can't be listed without credentials
            run.skip_by(opened)
        totals = await self._check(placed, located_copies)
        await sources.draw(None, "GET")
        get = await sides.source.get_if(self._renew_credentials)
        put = await sides.destination.get_if(self._renew_credentials)
        renew = await run.renewal(get, self._renew_command, self._renew_url)
        renew_target = by_credentials(put) if put is not None else renew
        jobs = LinkedCopies(sources, renew, renew_target, index_paths(self._index)).jobs()
        if self._dry_run:
            return await run.plan(jobs)
        return await run.transfer(jobs, TransferSpec(), totals=totals, sources=sources)

    async def to_bucket(
        self,
        target: Destination,
        if_exists: IfExists,
        headers: Mapping[str, str],
        *,
        recheck: bool,
        relay: bool,
        tags: bool,
        extra: str | os.PathLike[str] | None,
        plan: str | os.PathLike[str] | None,
        certified: CopyCertificate | None,
    ) -> Report:
        """Copies to keys under a prefix, through links that are signed just in time."""
        run, sources, sides, config = self._run, self._sources, self._sides, self._run.config
        put = await sides.destination.get()
        # raises ParameterError for a header that can't be signed, before anything is listed
        put.sign_batch([ObjectRef(target.location.bucket, "any")], "PUT", headers=headers)
        get = await sides.source.get_if(sources.need_credentials or self._renew_credentials)
        target.refuses_own_keys = sides.are_one and not headers and not sources.has_links
        if get is not None:
            await _check_apart(sources, target.location, get, put)
        present = await self._present(
            PresentCopies(target, if_exists, extra, rechecks=recheck),
            target,
            put,
            is_listed=if_exists != "replace" or extra is not None or recheck,
        )
        totals = await self._check(target.placed)
        renew = await run.renewal(get if self._renew_credentials else None, self._renew_command, self._renew_url)
        lister = await sources.lister(self._stack, get, run.emit, attempts=config.attempts, transport=config.transport)
        self._listers += [lister] if lister is not None else []
        await sources.draw(lister, "GET")
        links = links_of_sources(
            sources,
            get,
            "GET",
            renew=renew,
            lister=lister,
            streamed=await self._reserving(lister, target),
            checksum_mode=self._mode,
            own=sides.source.get,
        )
        jobs = target.jobs(links, present, by_signing(put))
        is_copied_whole = {name.lower() for name in headers} <= _OF_SERVER_COPIES
        can_copy = sides.are_one and not sources.has_links
        on_server = can_copy and is_copied_whole and tags and not relay  # a server copies tags as well
        if self._dry_run:
            asks_part_size = get is not None
            return await self._plan(jobs, present, target, plan, on_server=on_server, asks_part_size=asks_part_size)
        given_tags = next((value for name, value in headers.items() if name.lower() == TAGGING), None)
        copies_tags = tags and given_tags is None
        spec = TransferSpec(copies_on_server=on_server, copies_tags=copies_tags)
        closing = None
        if certified is not None:
            spec = msgspec.structs.replace(spec, copy_digest=certified.algorithm)
            jobs, totals.known = certified.passing(jobs, run.completed), 0  # those that are done have rows, too
            closing = partial(certified.write, presigner=put, emit=run.emit, config=config, ca_bundle=self._ca_bundle)
        coordinator = self._coordinator(
            get, put, present, headers, replaces=if_exists == "replace", given_tags=given_tags, copies_tags=copies_tags
        )
        report = await run.transfer(jobs, spec, coordinator, totals=totals, sources=sources, closing=closing)
        report.extra = present.write_extra()
        return report

    async def _plan(
        self,
        jobs: Batches,
        present: PresentCopies,
        target: Destination,
        plan: str | os.PathLike[str] | None,
        *,
        on_server: bool,
        asks_part_size: bool,
    ) -> Report:
        """Plans the copies, and writes the objects that would be copied to the file `plan`."""
        with planned_objects(plan) as write:
            planner = Planner(
                self._run.config.part_size,
                lambda ref: write(msgspec.structs.replace(ref, path=target.path(ref))),
                lambda: sum(one.requests for one in self._listers),
                on_server=on_server,
                asks_part_size=asks_part_size,
            )
            report = await self._run.plan(_absent(jobs, present, planner, self._run.emit), planner)
        report.extra = present.write_extra()
        return report

    def _coordinator(
        self,
        get: Presigner | None,
        put: Presigner,
        present: PresentCopies,
        headers: Mapping[str, str],
        *,
        replaces: bool,
        given_tags: str | None,
        copies_tags: bool,
    ) -> Callable[[TransferContext], Coordinator]:
        """Makes the Coordinator of copies: it lists, signs, and opens uploads, which needs credentials."""
        has_condition = any(name.lower().startswith("if-") for name in headers)

        def coordinator(context: TransferContext) -> Coordinator:
            resumer = MultipartResumer(MultipartCreator(put, context, headers=headers), put, None)
            guard = DestinationGuard(put, context.http, present, context.emit, replaces=replaces)
            return Coordinator(
                ask_part_size=None if get is None else partial(ask_part_size, get, context.http),
                refuse_checksum_mode=self._mode.refuse,
                open_upload=resumer.open_upload,
                end_upload=resumer.end_upload,
                sign_put=PutSigner(put, headers),
                read_tags=partial(read_tags, get, context.http) if get is not None and copies_tags else None,
                settle_tags=partial(settle_tags, put, context.http, given_tags) if copies_tags or given_tags else None,
                find_present=partial(present.find, http=context.http),
                guard=None if has_condition else guard,
            )

        return coordinator

    async def _check(
        self,
        placed: Callable[[ObjectRef], ObjectRef],
        located: Callable[[Table], Iterator[Sequence[Located]]] | None = None,
    ) -> Totals:
        return await check(
            self._sources,
            lambda _: None,
            self._index,
            "GET",
            self._run.completed,
            listeners=self._listeners,
            placed=placed,
            located=located,
        )

    async def _present(
        self, present: PresentCopies, target: Destination, put: Presigner, *, is_listed: bool
    ) -> PresentCopies:
        """Finds the copies that exist, in the journal, and in a listing of the destination where one is needed."""
        run, config = self._run, self._run.config
        self._stack.enter_context(present)
        name = target.location.bucket.rpartition("/")[2]  # the name of an access point
        journal = journal_of(self._journal, "copy", name, await target.named(put))
        opened = run.use_journal(journal, noting(present.are_current, partial(run.skip_by, journal)))
        if opened is not None or self._sources.has_locations or is_listed:
            async with BucketLister(put, run.emit, attempts=config.attempts, transport=config.transport) as lister:
                self._listers.append(lister)
                if not await present.list_destination(lister) and opened is not None:
                    run.skip_by(opened)
        return present

    async def _reserving(
        self, lister: BucketLister | None, target: Destination
    ) -> Callable[[Sequence[ObjectRef]], None]:
        """Reserves the keys of objects that are not in tables: before the run, where sources can be listed twice.

        Returns the function that reserves those that come during the run. The keys of one listing are different, unless
        they are rewritten. Raises ManifestError for a key that two objects would have.
        """
        sources, reserve = self._sources, index_paths(self._index)

        def placed(refs: Sequence[ObjectRef]) -> None:
            reserve([target.placed(ref) for ref in refs])

        if sources.items is not None or any(table.is_stream for table in sources.tables):
            return placed
        if len(sources.parts) > 1 or target.rewrites:
            for part in sources.parts:
                if isinstance(part, Location):
                    async for found in sources.found_in(part, lister, "GET"):
                        placed(found.refs)
        return lambda _: None


async def _absent(jobs: Batches, present: PresentCopies, planner: Planner, emit: Listener) -> Batches:
    """The jobs of objects that are not at the destination; the others are counted."""
    async for batch in jobs:
        left = []
        for job in batch:
            try:
                outcome = await present.find(job.link, "")
            except RefusedError:
                planner.refuse("another object has the key, so the copy fails")
                continue
            if outcome is None:
                left.append(job)
            else:
                planner.skip(outcome.message or "the same is there")
                emit(ObjectsSkipped(1, job.object.size or 0))
        yield left


async def _check_apart(sources: Sources, target: Location, get: Presigner, put: Presigner) -> None:
    """Raises ParameterError for a destination inside of a source: the copies would be objects to copy."""
    for part in sources.parts:
        if not isinstance(part, Location) or part.bucket != target.bucket:
            continue
        prefix = part.key if part.pattern is None else part.pattern.base
        is_inside = target.key.startswith(prefix) and (part.is_prefix or part.pattern is not None)
        bucket = target.bucket
        if is_inside and await endpoint_of_bucket(get, bucket) == await endpoint_of_bucket(put, bucket):
            raise ParameterError(f"the destination {target.uri} lies inside of the source {part.uri}")
