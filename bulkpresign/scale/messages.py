"""What the coordinator of a run and its workers send each other, as bytes.

A worker gets links, settings and paths. It gets no credentials and no function of the coordinator: a link that expires
comes back with its outcome, and the coordinator renews it.
"""

from collections.abc import Mapping, Sequence
from types import FunctionType, MethodType

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.events import Event
from bulkpresign.model import ObjectRef, Outcome
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


class Finished(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of one job of a batch, by its index. The coordinator has its object and its link.

    `put_headers` are those with which the PUT link of a copy is to be signed: see `copies`.
    """

    job: int
    outcome: Outcome
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


_NO_OBJECT = ObjectRef("", "")


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
        return sealed(_encoder.encode(batch))
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


def without_object(outcome: Outcome) -> Outcome:
    """An outcome without what the coordinator has: object, link and upload.

    Of an object that was read for its digest, its size and its checksum stay.
    """
    found, link = outcome.object, outcome.link
    is_read = link is not None and found is not link.object
    ref = ObjectRef("", "", size=found.size, checksum=found.checksum) if is_read else _NO_OBJECT
    return msgspec.structs.replace(outcome, object=ref, link=None, upload=None)


def with_object(outcome: Outcome, job: Job) -> Outcome:
    """The outcome with the object and the link of its job."""
    link, is_done = job.link, outcome.status == "done"
    ref = link.object
    if is_done and isinstance(job.target, Digest):
        ref = msgspec.structs.replace(ref, size=outcome.object.size, checksum=outcome.object.checksum)
    return msgspec.structs.replace(outcome, object=ref, link=link, upload=None if is_done else job.upload)
