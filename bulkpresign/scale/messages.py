"""What the coordinator of a run and its workers send each other, as bytes.

A worker gets links, settings and paths. It gets no credentials and no function of the coordinator: a link that expires
comes back with its outcome, and the coordinator renews it.
"""

from collections.abc import Mapping, Sequence
from types import FunctionType, MethodType

import msgspec
from msgspec.structs import astuple

from bulkpresign.errors import ParameterError
from bulkpresign.events import Event
from bulkpresign.model import Evidence, Outcome, Status
from bulkpresign.scale.sealing import sealed, unsealed
from bulkpresign.transfer.engine.jobs import Digest, Job
from bulkpresign.transfer.executor import Statistics
from bulkpresign.transfer.spec import TransferSpec


class Batch(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Some jobs of a run, for one worker.

    `run` names the run: a worker keeps its connections from one batch to the next. `most` bounds the worker's requests
    in flight from now on. `mark` is a file in the folder of `spec`: a worker that does not find it sees another folder
    (None: the worker is on this machine, or only reads). With `signs_puts`, the coordinator signs the PUT links of
    copies, and with `reads_tags` it reads the tags of objects.
    """

    run: str
    spec: TransferSpec
    most: int
    mark: str | None
    signs_puts: bool = False
    reads_tags: bool = False
    jobs: Sequence[Job]


class Finished(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The outcome of one job of a batch, by its index: what the coordinator does not have itself.

    `evidence` has the fields of an Evidence. `found` are the size and the checksum of an object that was read for its
    digest. `put_headers` are those with which the PUT link of a copy is to be signed: see `copies`.
    """

    job: int
    status: Status
    bytes: int
    attempts: int
    verified_by: str | None
    code: str | None
    message: str | None
    seconds: float
    evidence: tuple[int, int, int, str | None, str | None, int] | None
    found: tuple[int | None, str | None] | None = None
    put_headers: Mapping[str, str] | None = None


class BatchResult(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What became of a batch.

    `outcomes` may lack jobs where the batch was interrupted, or `broken`: the message of a BreakerError. `problem` is
    why nothing of it was begun. `events` are those that the journal and the listeners need, `moved` sums up BytesMoved.
    `worker` names the process; `statistics` are its own, over all of its batches. `seconds` is the time of this batch.
    """

    worker: str
    outcomes: Sequence[Finished] = ()
    events: Sequence[Event] = ()
    moved: int = 0
    statistics: Statistics | None = None
    seconds: float = 0.0
    refuses_checksum_mode: bool = False
    broken: str | None = None
    problem: str | None = None


def _hook(value: object) -> None:
    """Leaves out the function that renews a link. It stays with the coordinator."""
    if not isinstance(value, FunctionType | MethodType):
        raise ParameterError(f"a row can't be sent to a worker: it has a value of type {type(value).__name__}")


def _unhook(_kind: type, value: object) -> object:
    return value


_encoder = msgspec.msgpack.Encoder(enc_hook=_hook)
_batches = msgspec.msgpack.Decoder(Batch, dec_hook=_unhook)
_results = msgspec.msgpack.Decoder(BatchResult, dec_hook=_unhook)


def encode_batch(batch: Batch) -> bytes:
    """A batch as bytes, for `decode_batch` in the worker. Raises ParameterError for a row that can't be sent."""
    try:
        return sealed(batch, _encoder)
    except OverflowError as error:  # JSON has such numbers
        raise ParameterError(f"a row can't be sent to a worker: it has a number of over 64 bits ({error})") from error


def decode_batch(data: bytes) -> Batch:
    """The batch. Raises ParameterError for one of another version of the package."""
    return unsealed(data, _batches)


def encode_result(result: BatchResult) -> bytes:
    """A result as bytes, for `decode_result` in the coordinator."""
    return _encoder.encode(result)


def decode_result(data: bytes) -> BatchResult:
    """The result."""
    return _results.decode(data)


def finished(index: int, outcome: Outcome, put_headers: Mapping[str, str] | None = None) -> Finished:
    """The outcome of a job, for the coordinator."""
    ref, link, evidence = outcome.object, outcome.link, outcome.evidence
    return Finished(
        index,
        outcome.status,
        outcome.bytes,
        outcome.attempts,
        outcome.verified_by,
        outcome.code,
        outcome.message,
        outcome.seconds,
        None if evidence is None else astuple(evidence),
        None if link is None or ref is link.object else (ref.size, ref.checksum),
        put_headers,
    )


def outcome_of(finished: Finished, job: Job) -> Outcome:
    """The outcome, with the object and the link of its job."""
    link, is_done, evidence = job.link, finished.status == "done", finished.evidence
    ref = link.object
    if is_done and finished.found is not None and isinstance(job.target, Digest):
        size, checksum = finished.found
        ref = msgspec.structs.replace(ref, size=size, checksum=checksum)
    return Outcome(
        ref,
        finished.status,
        finished.bytes,
        finished.attempts,
        finished.verified_by,
        finished.code,
        finished.message,
        link,
        finished.seconds,
        None if is_done else job.upload,
        None if evidence is None else Evidence(*evidence),
    )
