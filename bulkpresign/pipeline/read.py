"""read: objects as bytes in memory, verified, in the order in which they come; nothing goes to disk."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Generic, Literal, TypeVar, get_args, overload

from bulkpresign.errors import LinkExpiredError, ParameterError, TransferError
from bulkpresign.events import Event, Listener, check_listeners, outcomes_in
from bulkpresign.model import INTERRUPTED, Link, Report
from bulkpresign.pipeline.run.config import TransferConfig, check_number, config_of
from bulkpresign.pipeline.run.outcomes import OutcomeListener, RunResults
from bulkpresign.pipeline.run.presigner import RunPresigner
from bulkpresign.pipeline.run.run import Run
from bulkpresign.pipeline.run.streams import ResultQueue
from bulkpresign.pipeline.sources.items import Items
from bulkpresign.pipeline.sources.links import Remote, links_of_sources
from bulkpresign.pipeline.sources.renewals import ChecksumMode
from bulkpresign.pipeline.sources.sources import Source, Sources
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.filters import Filters
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.engine.jobs import IN_MEMORY, Job, RenewableLink
from bulkpresign.transfer.spec import TransferSpec

#: Bytes of the largest object that `read` takes, unless told otherwise.
MAX_OBJECT_SIZE = 64 << 20
Errors = Literal["raise", "yield"]
#: Bytes of the bodies that wait or are in flight, where no concurrency is given; and their number at least.
_MEMORY, _LEAST_CONCURRENCY = 4 << 30, 8

Result = tuple[Link, bytes | TransferError]


#: `bytes`, or with errors="yield" a TransferError instead.
Data = TypeVar("Data")


class Reading(RunResults[tuple[Link, Data]], Generic[Data]):
    """Links and the bytes of their objects; an async iterator and an async context. See `read`."""

    def __init__(self, run: Callable[[OutcomeListener], Awaitable[Report]], *, raises: bool) -> None:
        super().__init__("read", _FailureListener, run, check=_raised if raises else None)


class _FailureListener(OutcomeListener):
    """Passes failures on. The bytes of the other objects are put into the queue where they are read."""

    def __init__(self, queue: ResultQueue[Any]) -> None:
        super().__init__(queue, "read", waiting=0)  # an object that waits takes the slot of one in flight

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        for outcome in outcomes_in(event):
            # An interrupted object has no error of its own: the run raises the one that ended it.
            if outcome.status in {"failed", "expired"} and outcome.code != INTERRUPTED:
                kind = LinkExpiredError if outcome.status == "expired" else TransferError
                error = kind(f"{outcome.object.uri}: {outcome.message}", code=outcome.code or "")
                error.attempt = outcome.attempts
                self.queue.put((outcome.link, error))


def _raised(result: tuple[Link, Data]) -> tuple[Link, Data]:
    if isinstance(result[1], TransferError):
        raise result[1]
    return result


@overload
def read(
    links: Source | Items,
    *,
    errors: Literal["raise"] = "raise",
    max_object_size: int = MAX_OBJECT_SIZE,
    config: TransferConfig | None = None,
    concurrency: int | None = None,
    attempts: int | None = None,
    limit_rate: int | None = None,
    limit: int | None = None,
    filters: Filters | None = None,
    renew_credentials: bool = False,
    renew_command: str | None = None,
    renew_url: str | None = None,
    ca_bundle: str | None = None,
    presigner: Presigner | None = None,
    listeners: Sequence[Listener] = (),
) -> Reading[bytes]: ...


@overload
def read(
    links: Source | Items,
    *,
    errors: Literal["yield"],
    max_object_size: int = MAX_OBJECT_SIZE,
    config: TransferConfig | None = None,
    concurrency: int | None = None,
    attempts: int | None = None,
    limit_rate: int | None = None,
    limit: int | None = None,
    filters: Filters | None = None,
    renew_credentials: bool = False,
    renew_command: str | None = None,
    renew_url: str | None = None,
    ca_bundle: str | None = None,
    presigner: Presigner | None = None,
    listeners: Sequence[Listener] = (),
) -> Reading[bytes | TransferError]: ...


def read(
    links: Source | Items,
    *,
    errors: Errors = "raise",
    max_object_size: int = MAX_OBJECT_SIZE,
    config: TransferConfig | None = None,
    concurrency: int | None = None,
    attempts: int | None = None,
    limit_rate: int | None = None,
    limit: int | None = None,
    filters: Filters | None = None,
    renew_credentials: bool = False,
    renew_command: str | None = None,
    renew_url: str | None = None,
    ca_bundle: str | None = None,
    presigner: Presigner | None = None,
    listeners: Sequence[Listener] = (),
) -> Reading[Any]:
    """The bytes of objects, as pairs of a link and its object's `bytes`, in the order of completion.

        async for link, data in bp.read(links, concurrency=64):
            model.feed(link.object.key, data)

    `links` is what `get` takes: links, objects and urls in any iterable, or tables, `s3://...` and urls. Bytes are
    verified as `get` verifies files: by checksum, else etag, else size. A mismatch is retried within `attempts`.

    At most `concurrency` bodies are in flight or wait; the next request goes out when a pair is taken. Without
    `concurrency` the run finds the number: at most as many as make 4 GiB of bodies of `max_object_size` (bytes, 64 MiB
    by default), which is 64. Memory is at most `concurrency x max_object_size`, and one body more while it is verified.
    A larger object fails with the code `TooLarge`.

    `errors`: with `raise` (the default) the first object that fails raises its TransferError (LinkExpiredError where
    its link has expired), which ends the run: no object is missing unnoticed. With `yield` it comes as a pair of the
    link and the TransferError, and the run goes on. `code` of the error is S3's own where there was one.

    `filters` select among the objects.

    `presigner` (open, left open) signs objects, and with `renew_credentials` links that expire; without one the AWS
    chain is used. The other keywords are those of `get`. `report` of the result has the counts. Leaving the loop ends
    the run; `async with` waits for its end. Raises in the loop what `get` raises.
    """
    if errors not in get_args(Errors):
        raise ParameterError(f"errors {errors!r} is not one of {', '.join(get_args(Errors))}")
    check_number("max_object_size", max_object_size, is_needed=True)
    check_listeners(listeners)
    bounds = config_of(
        config,
        concurrency=concurrency,
        attempts=attempts,
        limit_rate=limit_rate,
        limit=limit,
    )
    if bounds.concurrency is None:
        most = max(_LEAST_CONCURRENCY, _MEMORY // max_object_size)
        bounds = config_of(bounds, max_concurrency=min(bounds.max_concurrency, most))

    async def run(listener: OutcomeListener) -> Report:
        sources = Sources(links, no_links=None, takes_items=True, filters=filters)
        async with AsyncExitStack() as stack:
            own = await stack.enter_async_context(RunPresigner(presigner, ca_bundle=ca_bundle))
            await sources.begin(stack)
            transfer = await stack.enter_async_context(
                Run("read", config=bounds, ca_bundle=ca_bundle, listeners=[*listeners, listener])
            )
            signing = await own.get_if(sources.need_credentials or renew_credentials)
            renew = await transfer.renewal(signing if renew_credentials else None, renew_command, renew_url)
            lister = await sources.lister(stack, signing, transfer.emit, attempts=bounds.attempts)
            await sources.draw(lister, "GET")
            mode = ChecksumMode()
            fresh = links_of_sources(
                sources, signing, "GET", renew=renew, lister=lister, checksum_mode=mode, own=own.get
            )
            return await transfer.transfer(
                _reads(fresh),
                TransferSpec(max_object_size=max_object_size),
                lambda _: Coordinator(
                    refuse_checksum_mode=mode.refuse, receive=lambda link, data: listener.queue.put((link, data))
                ),
                sources=sources,
            )

    return Reading(run, raises=errors == "raise")


async def _reads(links: AsyncIterator[list[Remote]]) -> AsyncIterator[list[Job]]:
    async for batch in links:
        yield [Job(link, IN_MEMORY) for link in batch if isinstance(link, RenewableLink)]
