"""The part sizes of objects: workers need them to verify, and only the coordinator can ask for them."""

from collections.abc import Sequence

import msgspec

from bulkpresign.transfer.downloads.part_size import AskPartSize, with_part_size
from bulkpresign.transfer.engine.jobs import Job, RenewableLink


async def with_part_sizes(jobs: Sequence[Job], ask: AskPartSize | None) -> Sequence[Job]:
    """The jobs, with the part size that `ask` tells in the row of each object that needs one."""
    return jobs if ask is None else [await _with_part_size(job, ask) for job in jobs]


async def _with_part_size(job: Job, ask: AskPartSize) -> Job:
    source = job.source
    if not isinstance(source, RenewableLink):
        return job
    link = await with_part_size(source.link, ask)
    return job if link is source.link else msgspec.structs.replace(job, source=RenewableLink(link))
