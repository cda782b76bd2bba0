"""Renews expired links."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import islice
from typing import TypeVar

import anyio
import anyio.lowlevel

from bulkpresign.errors import LinkExpiredError
from bulkpresign.http.clock import Clock
from bulkpresign.http.s3_errors import ended
from bulkpresign.model import EXPIRY_MARGIN, NO_MARGIN, Link
from bulkpresign.transfer.engine.jobs import Job, Renew, RenewableLink
from bulkpresign.transfer.engine.retries import numbered

T = TypeVar("T")

#: The most consecutive renewals of one link without success. Without this limit, a link that the server always refuses
#: would be renewed forever. Renewals after bytes were moved are not limited: a large object may need many links.
MAX_RENEWALS = 10

#: The most links of waiting jobs that are renewed together.
RENEWAL_BATCH = 1024


class LinkRenewer:
    """Renews links in batches: one batch for all workers whose links expire at the same time.

    Expired links of jobs that still wait (in `waiting`, unless another queue is given) are renewed in the same batch.
    Links are renewed by a margin before they expire, unless the last fresh ones were within their margin as well, as
    where credentials expire soon, or there were none: then every link is sent until it expires.
    """

    def __init__(self, waiting: deque[Job], clock: Clock) -> None:
        self._waiting = waiting
        self._clock = clock
        self._requests: list[_Request] = []
        self._without_margin: set[Renew] = set()  # their last batch had no link that lives longer than its margin
        self._lock = anyio.Lock()

    async def call(
        self, renewable: RenewableLink, work: Callable[[Link], Awaitable[T]], waiting: deque[Job] | None = None
    ) -> T:
        """Returns the result of `work` on the link, or on a fresh link if the link has expired or the server says so.

        While the time of its server is unknown, a link that has expired by what is known is renewed if possible. If it
        can't be renewed, or the fresh link has expired as well, it is sent anyway: the clock may be wrong. The margin
        counts only for the first link: a fresh one, or one that could not be renewed, is sent until it expires.
        """
        renewals_left = MAX_RENEWALS if renewable.renew is not None else 0
        trusts_clock = renewable.renew is not None
        margin = self._margin(renewable)
        not_renewed: LinkExpiredError | None = None
        while True:
            link = renewable.link
            try:
                if self._clock.has_expired(link, margin) or (
                    trusts_clock and link.expires_by(self._clock.now(), margin)
                ):
                    await anyio.lowlevel.checkpoint()
                    raise _expired_before_use(link, self._clock)
                return await work(link)
            except LinkExpiredError as error:
                if not_renewed is not None:
                    raise numbered(not_renewed, error.attempt) from None
                if error.has_served and renewable.renew is not None:
                    renewals_left = MAX_RENEWALS
                if not renewals_left:
                    raise
                renewals_left -= 1
                sent = error.attempt
            trusts_clock, margin = False, NO_MARGIN
            try:
                if renewable.link is link:  # if not, it was renewed with others in the meantime
                    await self.renew(renewable, waiting)
            except LinkExpiredError as error:
                not_renewed = numbered(error, sent)
                if sent or self._clock.has_expired(link, margin):
                    raise not_renewed from None

    async def renew(self, renewable: RenewableLink, waiting: deque[Job] | None = None) -> None:
        """Replaces the link by a fresh one. Raises LinkExpiredError if it can't be renewed."""
        request = _Request(renewable, self._waiting if waiting is None else waiting)
        self._requests.append(request)
        try:
            async with self._lock:
                if request.is_renewed_in_queue:
                    return
                if not request.is_resolved:
                    await anyio.lowlevel.checkpoint()  # other workers with expired links can join the batch
                    await self._renew_batch(request)
        finally:
            if request in self._requests:
                self._requests.remove(request)
        if request.error is not None:
            raise LinkExpiredError(str(request.error), code=request.error.code)
        if request.link is None:
            message = "the link expired, and there is no fresh one of this object on the same server"
            raise LinkExpiredError(message, code="LinkExpired")
        renewable.link = request.link

    async def _renew_batch(self, first: "_Request") -> None:
        """Renews the links of all requests with the same `renew`, and of jobs that wait. Sets each request's result."""
        renew = first.renewable.renew
        if renew is None:  # an earlier batch could not renew it while its job waited
            first.resolve(None)
            return
        open_requests = [each for each in self._requests if not (each.is_resolved or each.is_renewed_in_queue)]
        together = [request for request in open_requests if request.renewable.renew is renew]
        expired = self._expired(renew, first.waiting)
        try:
            links = await renew([request.renewable.link for request in together] + [side.link for side in expired])
        except LinkExpiredError as error:
            self._without_margin.add(renew)
            for request in together:
                request.resolve(None, error)
            return
        self._learn_margin(renew, links)
        for request, link in zip(together, links, strict=False):
            request.resolve(link)
        for side, link in zip(expired, links[len(together) :], strict=True):
            side.link, side.renew = (link, renew) if link else (side.link, None)

    def _expired(self, renew: Renew, waiting: deque[Job]) -> list[RenewableLink]:
        """The expired links of jobs that wait. The jobs stay in the queue, and workers may take them meanwhile."""
        now = self._clock.now()
        sides = (side for job in waiting for side in job.renewables if side.renew is renew)
        expired = (side for side in sides if side.link.expires_by(now, self._margin(side)))
        return list(islice(expired, RENEWAL_BATCH))

    def _margin(self, renewable: RenewableLink) -> timedelta:
        """The time before its expiry from which a link is renewed: none where a renewal can't bring a later expiry."""
        has_none = renewable.renew is None or renewable.renew in self._without_margin
        return NO_MARGIN if has_none else EXPIRY_MARGIN

    def _learn_margin(self, renew: Renew, links: Sequence[Link | None]) -> None:
        """Takes note whether one of the fresh links lives longer than its margin."""
        now = self._clock.now()
        if any(link is not None and not link.expires_by(now) for link in links):
            self._without_margin.discard(renew)
        else:
            self._without_margin.add(renew)


class _Request:
    """A worker's request for a fresh link, and its result."""

    def __init__(self, renewable: RenewableLink, waiting: deque[Job]) -> None:
        self.renewable = renewable
        self.waiting = waiting
        self.old = renewable.link
        self.is_resolved = False
        self.link: Link | None = None
        self.error: LinkExpiredError | None = None

    @property
    def is_renewed_in_queue(self) -> bool:
        """An earlier batch renewed the link: its job waited then, and a worker took it before that batch ended."""
        return self.renewable.link is not self.old

    def resolve(self, link: Link | None, error: LinkExpiredError | None = None) -> None:
        self.link, self.error, self.is_resolved = link, error, True


def _expired_before_use(link: Link, clock: Clock) -> LinkExpiredError:
    message = "; ".join(filter(None, [ended(link), clock.difference]))
    return numbered(LinkExpiredError(message, code="LinkExpired"), 0)
