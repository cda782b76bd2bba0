"""Batches of jobs on their way to the executor: what is done is taken out, and what the journal has is added."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio.lowlevel
import msgspec

from bulkpresign.events import Listener, ObjectsSkipped, SourceEnded
from bulkpresign.ledger.journal import Journal
from bulkpresign.pipeline.run.completed import CompletedFilter, recorded_evidence
from bulkpresign.pipeline.run.outcomes import OutcomeListener
from bulkpresign.transfer.engine.jobs import Job

Batches = AsyncIterator[Sequence[Job]]


async def no_batches() -> Batches:
    """No jobs."""
    batches: Sequence[Sequence[Job]] = ()
    for batch in batches:
        yield batch


async def undone(
    batches: Batches, completed: CompletedFilter, emit: Listener, consumer: OutcomeListener | None = None
) -> Batches:
    """The jobs that earlier runs did not complete; the others are emitted as skipped, and given to the consumer."""
    async for batch in batches:
        done = [] if completed.is_empty else completed.are_done([(job.object, job.link) for job in batch])
        if not any(done):
            yield batch
            continue
        skipped = [job for job, is_done in zip(batch, done, strict=True) if is_done]
        emit(ObjectsSkipped(len(skipped), sum(job.object.size or 0 for job in skipped)))
        if consumer is not None:
            await consumer.skip(skipped)
        yield [job for job, is_done in zip(batch, done, strict=True) if not is_done]
        await anyio.lowlevel.checkpoint()


async def limited(batches: Batches, limit: int | None) -> Batches:
    """The first `limit` jobs; None: all."""
    left = limit
    async for batch in batches:
        if left is None:
            yield batch
        else:
            yield batch[:left]
            left -= min(left, len(batch))
        if left == 0:
            return


async def counted(batches: Batches, emit: Listener) -> Batches:
    """The same jobs. Their number is emitted after the last one."""
    objects, size = 0, 0
    has_sizes = True
    async for batch in batches:
        objects += len(batch)
        sizes = [job.object.size for job in batch]
        has_sizes = has_sizes and None not in sizes
        size += sum(one or 0 for one in sizes)
        yield batch
    emit(SourceEnded(objects, size if has_sizes else None))


async def with_records(batches: Batches, journal: Journal | None, *, rechecks: bool) -> Batches:
    """The jobs with what the journal has of them: a checkpoint, and evidence where existing files are rechecked."""
    async for batch in batches:
        jobs = batch
        if journal is not None and journal.has_checkpoints:
            jobs = [_with(job, checkpoint=journal.checkpoint(job.link)) for job in jobs]
        if journal is not None and rechecks:
            evidence = recorded_evidence(journal, [job.link for job in jobs])
            jobs = [_with(job, evidence=one) for job, one in zip(jobs, evidence, strict=True)]
        yield jobs


def _with(job: Job, **known: Any) -> Job:
    return job if all(value is None for value in known.values()) else msgspec.structs.replace(job, **known)
