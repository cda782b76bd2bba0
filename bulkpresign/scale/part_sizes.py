"""The part sizes of objects: workers need them to verify, and only the coordinator can ask for them."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bulkpresign.checksums import expected_digest
from bulkpresign.checksums.sources import PART_SIZE_COLUMN
from bulkpresign.model import Link, ObjectRef
from bulkpresign.transfer.engine.jobs import Job, RenewableLink

AskPartSize = Callable[[Link], Awaitable[int | None]]


async def with_part_sizes(jobs: Sequence[Job], ask: AskPartSize | None) -> Sequence[Job]:
    """The jobs, with the part size that `ask` tells in the row of each object that needs one."""
    if ask is None:
        return jobs
    return [await _with_part_size(job, ask) if _has_parts(job.object) else job for job in jobs]


def _has_parts(ref: ObjectRef) -> bool:
    """True where the digest of an object may be that of its parts."""
    return "-" in (ref.checksum or ref.etag or "") and expected_digest(ref).part_size is None


async def _with_part_size(job: Job, ask: AskPartSize) -> Job:
    """The job with the part size of its object in its row, where the server tells it."""
    source = job.source
    if not isinstance(source, RenewableLink):
        return job
    link = source.link
    size = await ask(link)
    if size is None:
        return job
    ref = msgspec.structs.replace(link.object, extra=(link.object.extra or {}) | {PART_SIZE_COLUMN: size})
    return msgspec.structs.replace(job, source=RenewableLink(msgspec.structs.replace(link, object=ref)))
