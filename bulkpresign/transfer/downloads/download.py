"""GET through a link into a file that appears when it is whole and verified."""

import os
import stat
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, TypeVar, get_args

import anyio.to_thread
import msgspec

from bulkpresign.checksums import ExpectedDigest, Verifier, expected_digest
from bulkpresign.errors import (
    LinkExpiredError,
    MismatchError,
    NameRefusedError,
    RefusedError,
    StorageError,
    TransferError,
)
from bulkpresign.events import BytesMoved, BytesResumed, PartFinished, ResumePointChanged
from bulkpresign.http.connection import Chunk
from bulkpresign.http.dates import unix_time
from bulkpresign.http.response import Response
from bulkpresign.model import NO_RESUME_POINT, Checkpoint, Evidence, Link, Outcome, ResumePoint
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder, Target
from bulkpresign.transfer.disk.temporary import TemporaryFile, remove_temporary
from bulkpresign.transfer.downloads.existing import (
    compared,
    fits,
    hash_existing,
    in_thread,
    intact_parts,
    md5_of,
    with_file,
)
from bulkpresign.transfer.downloads.ranged import Moved, RangedDownload, is_mismatch, is_of_a_part
from bulkpresign.transfer.downloads.ranges import RangePlan, kept_plan, likely_plan, told_plan
from bulkpresign.transfer.downloads.resume import RANGE_MISMATCH, RESUMABLE_BYTES, Resume, resume_of
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.retries import numbered, with_retries

#: Objects over this size move in parts of it, unless another size is given.
PART_SIZE = 64 << 20
#: From here on an object's md5 goes on in a thread: the loop then moves twice as many bytes a second, for a sixth more
#: time in all. For a small object the hops would cost more than they save.
_SLOW_BYTES = 1 << 20
#: The header by which S3 is asked for an object's checksum.
CHECKSUM_MODE = "x-amz-checksum-mode"
#: With these a server refuses a header that it does not know.
_UNKNOWN_HEADER = frozenset({400, 501})
#: The code of an object over the bound.
TOO_LARGE = "TooLarge"
#: More than any object has.
_NO_BOUND = 1 << 63

T = TypeVar("T")

IfExists = Literal["replace", "keep", "fail"]
IF_EXISTS = get_args(IfExists)


class Downloader:
    """Downloads objects below a folder.

    An existing file that matches is skipped; `if_exists` tells what to do with one that differs. An object over
    `part_size` bytes moves in parts where its checksum can be computed from parts. `max_object_size` (bytes) bounds
    objects whose rows tell no size; with `fsync` an object is done once it is on the disk. With `rechecks` every
    existing file is compared with the server, by its recorded etag where the file is as it was.
    """

    def __init__(
        self,
        context: TransferContext,
        folder: Folder,
        coordinator: Coordinator,
        *,
        part_size: int = PART_SIZE,
        if_exists: IfExists = "replace",
        max_object_size: int | None = None,
        rechecks: bool = False,
        fsync: bool = False,
    ) -> None:
        self.context = context
        self.folder = folder
        self.coordinator = coordinator
        self.part_size = part_size
        self.if_exists = if_exists
        self.max_object_size = _NO_BOUND if max_object_size is None else max_object_size
        self.rechecks = rechecks
        self.fsync = fsync

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Downloads the object of one job. Raises TransferError where it fails."""
        source, file, ref = job.source, job.target, job.object
        assert isinstance(source, RenewableLink)  # noqa: S101 - as the dispatch has it
        assert isinstance(file, LocalFile)  # noqa: S101 - likewise
        if ref.size == 0 and ref.key.endswith("/"):
            return _skipped(source.link, "a folder marker has no file")
        try:
            target = self.folder.target(file.path)
        except NameRefusedError as error:
            raise numbered(StorageError(str(error), code="NameRefused"), 0) from error
        state = _State(job.checkpoint, job.evidence)
        return await renewer.call(source, lambda link: self._download(link, target, state))

    async def _download(self, link: Link, target: Target, state: "_State") -> Outcome:
        with target:
            return await self._run(_Download(self, link, target, state))

    async def _run(self, download: "_Download") -> Outcome:
        link, target, ref, context = download.link, download.target, download.link.object, self.context
        found = None if self.folder.is_new else target.found()
        if found is not None and (skipped := await self._existing(link, found, download)):
            remove_temporary(target)
            return skipped
        if not await download.plan():
            (moved, verified_by), attempts = await context.retried(download.attempt, ref)
        if download.is_in_parts:  # which an attempt may have found out
            (moved, verified_by), attempts = await with_retries(
                download.in_parts, ref, context.attempts, context.emit, None, should_retry=is_mismatch
            )
            attempts = max(attempts, download.attempts)
        if moved is None:
            remove_temporary(target)
        status: Literal["skipped", "done"] = "skipped" if moved is None else "done"
        return Outcome(ref, status, moved or 0, attempts, verified_by, link=link, evidence=download.evidence)

    async def _existing(self, link: Link, found: os.stat_result, download: "_Download") -> Outcome | None:
        """The outcome where what is there settles it; else `download` knows of it."""
        is_file = stat.S_ISREG(found.st_mode)
        if self.if_exists == "keep":
            return _skipped(link, f"there is a {'file' if is_file else 'link or device'} of that name")
        try:
            if is_file and await download.compare(found):
                return _skipped(link, None, download.verified_by, download.evidence)
        except OSError:  # a file that can't be read is replaced, or replacing it fails with the reason
            pass
        download.replaces = True
        return None


class _State:
    """The state of one object that outlives its links: what is recorded of it, and what an earlier run left."""

    def __init__(self, checkpoint: Checkpoint | None, evidence: Evidence | None) -> None:
        self.point = checkpoint.point if checkpoint is not None else None
        self.parts: dict[int, str] = dict(checkpoint.parts) if checkpoint is not None else {}
        #: How the object and its file were when an earlier run was done with them.
        self.evidence = evidence
        #: The bytes that an earlier run left, None until the first byte is stored.
        self.resumed: int | None = None


class _Download:
    """One object on its way to its file, over its attempts."""

    def __init__(self, downloader: Downloader, link: Link, target: Target, state: _State) -> None:
        self.downloader = downloader
        self.context = downloader.context
        self.link = link
        self.target = target
        self.state = state
        self._parallel: RangedDownload | None = None
        self._has_ranges = True
        #: True where something else stands under the name.
        self.replaces = False
        #: The etag of the file that stands there, where it can be the object.
        self.existing: str | None = None
        #: By what that file was verified, and how it is.
        self.verified_by: str | None = None
        self.evidence: Evidence | None = None
        #: The most that one request for a part took.
        self.attempts = 1

    def set_resume_point(self, point: ResumePoint) -> None:
        """Records what the bytes that follow belong to."""
        self.state.point, self.state.parts = point, {}
        self.context.emit(ResumePointChanged(self.link, point))

    def add_finished_part(self, number: int, proof: str) -> None:
        """Records that a part is on the disk."""
        self.state.parts[number] = proof
        self.context.emit(PartFinished(self.link, number, proof))

    def begin(self, resumed: int) -> None:
        """Tells once how many bytes an earlier run left; bytes of an earlier attempt were told as they were moved."""
        if self.state.resumed is None:
            self.state.resumed = resumed
            if resumed:
                self.context.emit(BytesResumed(resumed))

    def begin_anew(self, left: int = 0) -> None:
        """Takes back what an earlier run left, and what earlier attempts added up to `left` bytes: it is discarded."""
        if self.state.resumed:
            self.context.emit(BytesResumed(-self.state.resumed))
        if self.state.resumed is not None and left > self.state.resumed:
            self.context.emit(BytesMoved(self.state.resumed - left))
        self.state.resumed = 0

    @property
    def is_in_parts(self) -> bool:
        """True where there is a plan by which the object moves in parts."""
        return self._parallel is not None

    async def compare(self, found: os.stat_result) -> bool:
        """True where the file that stands there is the object, by what its row tells and without a request.

        Raises OSError.
        """
        expected = expected_digest(self.link.object)
        if expected.size not in {None, found.st_size}:
            return False
        if self.downloader.rechecks and (etag := _recorded_etag(self.state.evidence, found)) is not None:
            self.existing, self.verified_by = etag, "etag"
            self.evidence = _evidence(found, expected, etag)
        elif expected.algorithm is None or self.downloader.rechecks:
            self.existing, self.verified_by = await in_thread(found.st_size, with_file, self.target, md5_of), "md5"
            self.evidence = _evidence(found, expected, self.existing)
        else:
            compare = partial(compared, expected)
            self.verified_by, part_size = await in_thread(found.st_size, with_file, self.target, compare)
            self.evidence = _evidence(found, expected, self.link.object.etag, part_size)
            return self.verified_by is not None
        return False

    async def plan(self) -> bool:
        """Whether the object moves in parts, as far as that can be known before it is asked for.

        What an earlier run began in one stream goes on so.
        """
        plan = None
        if self._has_ranges:
            kept = self.state.point
            if kept is None or self._resume_of(kept) is None:
                plan = await self._kept_plan(kept) or self._likely_plan()
        self._parallel = None if plan is None else RangedDownload(self, plan)
        return self._parallel is not None

    async def attempt(self) -> Moved:
        """One request: the object's bytes (None: the file that is there is the object) and what verified them.

        Where the answer tells that it is in parts, the first of them was moved, and the others follow `in_parts`.
        """
        kept = self.state.point
        resume = None if kept is None else self._resume_of(kept)
        headers = resume.headers if resume else self._condition()
        async with self.context.http.request(self.link, headers) as response:
            if response.status == 200:
                self.check_length(response.length)
                plan = self._told_plan(response)
                return await (self.store(response) if plan is None else self._begin(plan, response))
            if resume is not None and response.status in {206, 412, 416}:
                return await self._continue(response, resume)
            if response.status == 304 and self.existing:
                return None, self.verified_by
            raise await refusal(self.link, response, self.downloader.coordinator.refuse_checksum_mode)

    async def in_parts(self) -> Moved:
        """What is left of an object in parts; once something did not fit, all of it."""
        if self._parallel is None and not await self.plan():
            return await self._anew()
        parallel, self._parallel = self._parallel, None
        assert parallel is not None  # noqa: S101 - it is in parts
        try:
            return await parallel.run()
        except BaseException as error:
            await parallel.give_up(error)
            if not isinstance(error, MismatchError) or error.code != RANGE_MISMATCH:
                raise
        finally:
            self.attempts = max(self.attempts, parallel.attempts)
        self._has_ranges = False  # a server that gives no ranges, or not those that it is asked for
        return await self._anew()

    async def _anew(self) -> Moved:
        """All of the object, from a request for all of it on."""
        moved, attempts = await self.context.retried(self.attempt, self.link.object, should_retry=is_of_a_part)
        self.attempts = max(self.attempts, attempts)
        return await self.in_parts() if self.is_in_parts else moved

    def check_length(self, length: int | None) -> None:
        """Raises RefusedError for an object over the bound."""
        if length is not None and length > self.downloader.max_object_size:
            bound = self.downloader.max_object_size
            raise RefusedError(f"the object has {length:,} bytes; {bound:,} are allowed", code=TOO_LARGE)

    def _resume_of(self, kept: ResumePoint) -> Resume | None:
        return resume_of(kept, self.target.temporary_size())

    async def _kept_plan(self, kept: ResumePoint | None) -> RangePlan | None:
        """The plan that an earlier run left, with those of its parts whose bytes are still what they were."""
        if kept is None or not kept.part_size:
            return None
        finished: Mapping[int, str] = dict(self.state.parts)
        if finished and self.target.temporary_size() == kept.size:
            finished = await in_thread(kept.size, intact_parts, self.target, kept, finished)
        return kept_plan(self.link.object, kept, self.target.temporary_size(), finished, self.downloader.part_size)

    def _likely_plan(self) -> RangePlan | None:
        """The plan by what the row tells. A link that asks for a checksum is sent first: the answer tells more."""
        ref = self.link.object
        if ref.checksum is None and CHECKSUM_MODE in self.link.headers:
            return None
        return likely_plan(ref, self.downloader.part_size)

    def _told_plan(self, response: Response) -> RangePlan | None:
        size, part_size = response.length or 0, self.downloader.part_size
        if size <= part_size or not self._has_ranges:
            return None
        return told_plan(self.link.object, response.etag, self.expected_digest_of(response), size, part_size)

    async def _begin(self, plan: RangePlan, response: Response) -> Moved:
        self._parallel = RangedDownload(self, plan)
        try:
            await self._parallel.begin(response)
        except BaseException as error:
            await self._parallel.give_up(error)
            self._parallel = None
            raise
        return None, None

    def _condition(self) -> Mapping[str, str] | None:
        return {"If-None-Match": f'"{self.existing}"'} if self.existing else None

    def may_replace(self) -> None:
        """Raises StorageError where something else stands under the name and has to stay."""
        if self.replaces and self.downloader.if_exists == "fail":
            raise StorageError("another file of that name is there", code="FileExists")

    async def _continue(self, response: Response, resume: Resume) -> Moved:
        """Stores the rest. A part that is of no use is given up, so that the next attempt starts from zero."""
        try:
            if response.status != 206 or response.etag not in {
                None,
                resume.part.etag,
            }:  # not every server minds If-Match
                raise MismatchError("the object changed since its part was fetched", code="ObjectChanged")
            resume.check(response.headers)
        except MismatchError:
            remove_temporary(self.target)
            self.begin_anew(resume.at)
            raise
        return await self.store(response, resume)

    async def store(self, response: Response, resume: Resume | None = None) -> Moved:
        """Stores an answer with the whole object, or with the rest of it."""
        self.may_replace()
        verifier = Verifier(self.expected_digest_of(response, resume.part if resume else None))
        begun = resume.at if resume else 0
        self.begin(begun)
        with TemporaryFile(self.target, begun) as file:
            is_kept = resume is not None or self._begin_part(response)
            try:
                if begun:
                    await in_thread(begun, hash_existing, verifier, file, begun)
                await self._receive(response, file, verifier)
                verified_by = await self.verified(verifier, file)
            except BaseException as error:
                if isinstance(error, MismatchError) or (isinstance(error, RefusedError) and error.code == TOO_LARGE):
                    file.discard()
                    self.begin_anew(begun)
                if not (is_kept and file.size):
                    self.context.emit(BytesMoved(begun - verifier.bytes))
                raise
            await self.commit(file, response.headers.get("last-modified"), verifier, response.etag)
        return file.size, verified_by

    async def commit(self, file: TemporaryFile, modified: str | None, verifier: Verifier, etag: str | None) -> None:
        """Gives a file its name, and keeps how it and its object are."""
        modified_at = unix_time(modified)
        if self.downloader.fsync:
            found = await anyio.to_thread.run_sync(lambda: file.commit(modified_at, sync=True))
        else:
            found = file.commit(modified_at)
        etag = etag or self.link.object.etag
        self.evidence = _evidence(found, verifier.expected, etag, verifier.part_size)

    def expected_digest_of(self, response: Response, part: ResumePoint | None = None) -> ExpectedDigest:
        """What the object's bytes must be, by an answer with all of them, or with some of a `part`'s.

        An answer of another size than the manifest says is refused right away.
        """
        ref = self.link.object
        if part is None:
            size = response.length
            expected = expected_digest(ref, response.etag, response.headers, size)
        else:  # checksums in an answer with a range may be the range's
            size = part.size
            expected = expected_digest(ref, part.etag, response.encryption, size)
        if size is not None:
            expected.check_size(size)
        return expected

    def _begin_part(self, response: Response) -> bool:
        """Records which object the bytes will be of, where resuming pays; a weak etag can't guard it."""
        size = response.length
        if not self.context.keeps_checkpoints:
            return False
        point = None
        if size is not None and size >= RESUMABLE_BYTES and (etag := response.etag) and not etag.startswith("W/"):
            point = ResumePoint(etag, size)
        if point is not None or self.state.point is not None:  # an earlier point is not true of these bytes
            self.set_resume_point(point or NO_RESUME_POINT)
        return point is not None

    async def _receive(self, response: Response, file: TemporaryFile, verifier: Verifier) -> None:
        emit, limiter, tuner = self.context.emit, self.context.limiter, self.context.tuner
        expected = verifier.expected
        is_slow, is_announced = expected.is_slow, response.length is not None
        bound = self.downloader.max_object_size if expected.size is None else expected.size
        taken: Chunk = b""

        def take(chunk: Chunk) -> bool:
            nonlocal taken
            taken = chunk
            if file.size + len(chunk) > bound:
                raise _over(bound, expected)
            file.write(chunk)
            if not is_announced:
                file.check_free_space()
            emit(BytesMoved(len(chunk)))
            tuner.bytes += len(chunk)
            if is_slow and verifier.bytes >= _SLOW_BYTES:
                return True
            verifier.update(chunk)
            return limiter.limits_rate

        while await response.stream_to(take):
            if verifier.bytes < file.size:  # not hashed yet
                await anyio.to_thread.run_sync(verifier.update, taken)
            await limiter.throttle(len(taken))

    async def verified(self, verifier: Verifier, file: TemporaryFile) -> str | None:
        """What verified the bytes of a file that is whole; raises MismatchError.

        A value of parts whose size nothing tells is compared for the likely sizes. Where none fits the server is asked,
        if we may; else the bytes stay unproven, and `size` is what verified them.
        """
        expected = verifier.expected
        if not expected.parts:
            return verifier.verify()
        verified_by = await in_thread(verifier.bytes, verifier.verify, file.blocks)
        ask = self.downloader.coordinator.ask_part_size
        if verified_by == expected.name or ask is None:
            return verified_by
        told = await ask(self.link)
        if told is None or -(-verifier.bytes // told) != expected.parts:
            return verified_by
        if await in_thread(verifier.bytes, fits, msgspec.structs.replace(expected, part_size=told), file):
            verifier.part_size, verified_by = told, expected.name
        return verified_by


def _recorded_etag(evidence: Evidence | None, found: os.stat_result) -> str | None:
    """The etag that an object had when its file was written, where the file is still in that state."""
    if evidence is None or evidence.etag is None or evidence.etag.startswith("W/"):
        return None
    is_same = (found.st_size, found.st_mtime_ns, found.st_ctime_ns) == (
        evidence.size,
        evidence.mtime_ns,
        evidence.ctime_ns,
    )
    return evidence.etag if is_same else None


def _over(bound: int, expected: ExpectedDigest) -> MismatchError | RefusedError:
    """The error of a body that goes on past the object's size, or past what is allowed."""
    if expected.size is None:
        return RefusedError(f"the object goes on after {bound:,} bytes; no more are allowed", code=TOO_LARGE)
    return MismatchError(f"there are more than the {bound:,} bytes that are expected", code="SizeMismatch")


def _evidence(found: os.stat_result, expected: ExpectedDigest, etag: str | None, part_size: int = 0) -> Evidence:
    return Evidence(found.st_size, found.st_mtime_ns, found.st_ctime_ns, etag, expected.checksum, part_size)


async def refusal(link: Link, response: Response, refuse_checksum_mode: Callable[[], None] | None) -> TransferError:
    """The error of a response without the object. A server that refuses the checksum mode is asked without it."""
    error = await response.error(link)
    if refuse_checksum_mode is None or response.status not in _UNKNOWN_HEADER or CHECKSUM_MODE not in link.headers:
        return error
    refuse_checksum_mode()
    return LinkExpiredError(f"{error} (the server may not know {CHECKSUM_MODE})", code=error.code)


def _skipped(
    link: Link, message: str | None, verified_by: str | None = None, evidence: Evidence | None = None
) -> Outcome:
    return Outcome(
        link.object, "skipped", attempts=0, verified_by=verified_by, message=message, link=link, evidence=evidence
    )
