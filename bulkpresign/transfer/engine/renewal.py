"""Fresh links for expired ones."""

from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TypeVar

import anyio
import anyio.lowlevel

from bulkpresign.errors import LinkExpiredError
from bulkpresign.http.clock import Clock
from bulkpresign.http.s3_errors import ended
from bulkpresign.model import Link
from bulkpresign.transfer.engine.jobs import Job, Renew, RenewableLink
from bulkpresign.transfer.engine.retries import numbered

T = TypeVar("T")

#: How often one link is renewed without success. A link that is refused as soon as it is fresh would otherwise be
#: renewed for ever; a large object may need any number of links.
MAX_RENEWALS = 10

#: Links renewed at once, where a whole batch has expired.
RENEWAL_BATCH = 1024


class LinkRenewer:
    """Renews links in batches, however many workers find theirs expired at once.

    Expired links of jobs that still wait (in `waiting`, unless another queue is given) are renewed along with them.
    """

    def __init__(self, waiting: deque[Job], clock: Clock) -> None:
        self._waiting = waiting
        self._clock = clock
        self._requests: list[_Request] = []
        self._lock = anyio.Lock()

    async def call(
        self, renewable: RenewableLink, work: Callable[[Link], Awaitable[T]], waiting: deque[Job] | None = None
    ) -> T:
        """The result of `work` on a link; where the link has expired, or the server says so, on a fresh one.

        Until a server told its time, a link that has expired by this machine's clock is renewed where it can be; where
        it can't, or the fresh one has expired as well, it is sent: the clock may be wrong.
        """
        renewals_left = MAX_RENEWALS if renewable.renew is not None else 0
        trusts_clock = renewable.renew is not None
        not_renewed: LinkExpiredError | None = None
        while True:
            link = renewable.link
            try:
                if link.expires_by(self._clock.now()) and (self._clock.is_set or trusts_clock):
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
            trusts_clock = False
            try:
                if renewable.link is link:  # else it was renewed with others meanwhile
                    await self.renew(renewable, waiting)
            except LinkExpiredError as error:
                not_renewed = numbered(error, sent)
                if sent or self._clock.is_set:
                    raise not_renewed from None

    async def renew(self, renewable: RenewableLink, waiting: deque[Job] | None = None) -> None:
        """Replaces the link by a fresh one. Raises LinkExpiredError where there is none."""
        old = renewable.link
        request = _Request(renewable, self._waiting if waiting is None else waiting)
        self._requests.append(request)
        try:
            async with self._lock:
                if renewable.link is not old:  # renewed along with others while its job waited
                    return
                if not request.is_resolved:
                    await anyio.lowlevel.checkpoint()  # so that others ask too whose links expired at this moment
                    await self._renew_batch(request)
        finally:
            if request in self._requests:
                self._requests.remove(request)
        if request.error is not None:
            raise LinkExpiredError(str(request.error), code=request.error.code)
        if request.link is None:
            raise LinkExpiredError("the link expired, and there is no fresh one", code="LinkExpired")
        renewable.link = request.link

    async def _renew_batch(self, first: "_Request") -> None:
        """Renews the links of all requests of the same source, and of jobs that wait. Leaves none without a result."""
        renew = first.renewable.renew
        if renew is None:  # a batch found no fresh link for it while its job waited
            first.resolve(None)
            return
        open_requests = [request for request in self._requests if not request.is_resolved]
        together = [request for request in open_requests if request.renewable.renew is renew]
        expired = self._expired(renew, first.waiting)
        try:
            links = await renew([request.renewable.link for request in together] + [side.link for side in expired])
        except LinkExpiredError as error:
            for request in together:
                request.resolve(None, error)
            return
        for request, link in zip(together, links, strict=False):
            request.resolve(link)
        for side, link in zip(expired, links[len(together) :], strict=True):
            side.link, side.renew = (link, renew) if link else (side.link, None)

    def _expired(self, renew: Renew, waiting: deque[Job]) -> list[RenewableLink]:
        """The expired links of jobs that wait. The jobs stay in their queue, which moves on meanwhile."""
        now = self._clock.now()
        sides = (job.renewable for job in waiting)
        expired = (side for side in sides if side is not None and side.renew is renew and side.link.expires_by(now))
        return list(islice(expired, RENEWAL_BATCH))


class _Request:
    """A worker's request for a fresh link, and its result."""

    def __init__(self, renewable: RenewableLink, waiting: deque[Job]) -> None:
        self.renewable = renewable
        self.waiting = waiting
        self.is_resolved = False
        self.link: Link | None = None
        self.error: LinkExpiredError | None = None

    def resolve(self, link: Link | None, error: LinkExpiredError | None = None) -> None:
        self.link, self.error, self.is_resolved = link, error, True


def _expired_before_use(link: Link, clock: Clock) -> LinkExpiredError:
    message = "; ".join(filter(None, [ended(link), clock.difference]))
    return numbered(LinkExpiredError(message, code="LinkExpired"), 0)
