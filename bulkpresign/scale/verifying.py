"""`verify` with workers: they hash the files of a folder that all of them see."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext

import msgspec

from bulkpresign.checksums.sources import PART_SIZE_COLUMN
from bulkpresign.errors import ParameterError
from bulkpresign.events import BytesMoved, Listener
from bulkpresign.model import ObjectRef, Outcome
from bulkpresign.proof.files import FileVerifier, Row
from bulkpresign.scale.calls import Calls
from bulkpresign.scale.mark import check_mark, marked
from bulkpresign.scale.sealing import sealed, unsealed, worker_name
from bulkpresign.scale.workers import Workers
from bulkpresign.tasks import in_order
from bulkpresign.transfer.disk.folder import Folder

_NO_OBJECT = ObjectRef("", "")


class VerifyTask(msgspec.Struct, frozen=True, array_like=True):
    """Rows whose files a worker verifies. `mark` is as in `messages.Batch`."""

    folder: str
    mark: str | None
    accept_size: bool
    rows: Sequence[Row]


class Verified(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of each row, without its object, and the bytes that were read. `problem` is why none was."""

    outcomes: Sequence[Outcome] = ()
    read: int = 0
    problem: str | None = None


_tasks = msgspec.msgpack.Decoder(VerifyTask)
_results = msgspec.msgpack.Decoder(Verified)


def verify_files(data: bytes) -> bytes:
    """Verifies the files of an encoded VerifyTask; returns an encoded Verified. This is what executors are given."""
    try:
        task = unsealed(data, _tasks)
        if task.mark is not None:
            check_mark(task.folder, task.mark)
    except ParameterError as error:
        return msgspec.msgpack.encode(Verified(problem=f"worker {worker_name()}: {error}"))
    counts = list[int]()
    outcomes = FileVerifier(Folder(task.folder).open_source, counts.append, accept_size=task.accept_size)(task.rows)
    bare = [msgspec.structs.replace(outcome, object=_NO_OBJECT, link=None) for outcome in outcomes]
    return msgspec.msgpack.encode(Verified(bare, sum(counts)))


async def verify_in_workers(
    workers: Workers,
    folder: str,
    batches: AsyncIterator[Sequence[Row]],
    take: Callable[[Sequence[Row], Sequence[Outcome]], object],
    emit: Listener,
    *,
    accept_size: bool,
) -> None:
    """Verifies the files of rows below an absolute `folder`. `take` gets each batch with its outcomes, in order.

    Raises ParameterError for workers that see another folder, and BreakerError where no worker is left.
    """
    calls, mark = Calls(workers), nullcontext() if workers.are_local else marked(folder)

    async def take_next(verified: tuple[Sequence[Row], Verified]) -> None:
        rows, result = verified
        if result.problem is not None:
            raise ParameterError(result.problem)
        emit(BytesMoved(result.read))
        take(rows, list(map(_with_row, result.outcomes, rows)))

    with mark as name:

        async def work(rows: Sequence[Row]) -> tuple[Sequence[Row], Verified]:
            task = VerifyTask(folder, name, accept_size, list(map(_sent, rows)))
            return rows, _results.decode(await calls(verify_files, sealed(task)))

        await in_order(batches, work, take_next, calls.most)


def _sent(row: Row) -> Row:
    """A row without its carried columns, but for the size of parts."""
    extra = {name: value for name, value in (row.ref.extra or {}).items() if name == PART_SIZE_COLUMN}
    return row._replace(ref=msgspec.structs.replace(row.ref, extra=extra or None))


def _with_row(outcome: Outcome, row: Row) -> Outcome:
    return msgspec.structs.replace(outcome, object=row.ref, link=row.link)
