"""Links whose lease is over, and fresh ones for them."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.lowlevel

from bulkpresign.errors import LinkExpiredError
from bulkpresign.http.clock import Clock
from bulkpresign.http.s3_errors import ended
from bulkpresign.model import Link
from bulkpresign.transfer.engine.jobs import Job, Renew
from bulkpresign.transfer.engine.retries import numbered

T = TypeVar("T")

#: How often one link is renewed with nothing to show for it. One that is refused as soon as it is fresh would go on for
#: ever; a large object may need any number of links.
MAX_RENEWALS = 10

#: Links asked for at once, where a whole batch has lapsed.
RENEWAL_BATCH = 1024


class LinkRenewer:
    """Asks for fresh links in batches, however many workers find theirs lapsed at once.

    Jobs that are still waiting in line (in `ready`, unless another line is given) and have lapsed as well are renewed
    along the way.
    """

    def __init__(self, ready: deque[Job], clock: Clock) -> None:
        self._ready = ready
        self._clock = clock
        self._asked: list[_Asked] = []
        self._lock = anyio.Lock()

    async def call(self, job: Job, work: Callable[[Link], Awaitable[T]], line: deque[Job] | None = None) -> T:
        """What `work` makes of a link; where its lease is over, or the server says so, of a fresh one.

        Until a server told its time, a link that is over by this machine's clock is renewed where it can be; where it
        can't, or the fresh one is over as well, it is sent: the clock may be wrong.
        """
        link = job.link
        renewals_left = MAX_RENEWALS if job.renew is not None else 0
        trusts_clock = job.renew is not None
        not_renewed: LinkExpiredError | None = None
        while True:
            try:
                if link.expires_by(self._clock.now()) and (self._clock.is_set or trusts_clock):
                    await anyio.lowlevel.checkpoint()
                    raise _expired_before_use(link, self._clock)
                return await work(link)
            except LinkExpiredError as error:
                if not_renewed is not None:
                    raise numbered(not_renewed, error.attempt) from None
                if error.has_served and job.renew is not None:
                    renewals_left = MAX_RENEWALS
                if not renewals_left:
                    raise
                renewals_left -= 1
                sent = error.attempt
            trusts_clock = False
            try:
                link = await self.fresh_link(Job(link, job.renew), line)
            except LinkExpiredError as error:
                not_renewed = numbered(error, sent)
                if sent or self._clock.is_set:
                    raise not_renewed from None

    async def fresh_link(self, job: Job, line: deque[Job] | None = None) -> Link:
        """A fresh link. Raises LinkExpiredError where there is none."""
        asked = _Asked(job, self._ready if line is None else line)
        self._asked.append(asked)
        async with self._lock:
            if not asked.is_answered:
                await anyio.lowlevel.checkpoint()  # lets the others ask that found theirs lapsed in this moment
                await self._ask(asked)
        if asked.error is not None:
            raise LinkExpiredError(str(asked.error), code=asked.error.code)
        if asked.link is None:
            raise LinkExpiredError("its time is over, and there is no fresh link for it", code="LinkExpired")
        return asked.link

    async def _ask(self, first: "_Asked") -> None:
        renew = first.job.renew
        assert renew is not None  # noqa: S101 - whoever has no source does not ask
        together = [asked for asked in self._asked if asked.job.renew is renew]
        self._asked = [asked for asked in self._asked if asked.job.renew is not renew]
        waiting = self._take_expired(renew, first.line)
        try:
            links = await renew([asked.job.link for asked in together] + [job.link for job in waiting])
            waiting = [
                Job(link, renew, part=job.part) if link else Job(job.link, part=job.part)
                for job, link in zip(waiting, links[len(together) :], strict=True)
            ]
            for asked, link in zip(together, links, strict=False):
                asked.resolve(link)
        except LinkExpiredError as error:
            for asked in together:
                asked.resolve(None, error)
        finally:
            first.line.extendleft(reversed(waiting))

    def _take_expired(self, renew: Renew, line: deque[Job]) -> list[Job]:
        """Takes those out of the line that have lapsed too, for the line moves on meanwhile.

        An upload stays: it has its links renewed as their turn comes.
        """
        now = self._clock.now()
        expires_by = [job for job in line if job.renew is renew and job.upload is None and job.link.expires_by(now)][
            :RENEWAL_BATCH
        ]
        if expires_by:
            taken = set(map(id, expires_by))
            others = [job for job in line if id(job) not in taken]
            line.clear()
            line.extend(others)
        return expires_by


class _Asked:
    """One worker's question, and its answer."""

    def __init__(self, job: Job, line: deque[Job]) -> None:
        self.job = job
        self.line = line
        self.is_answered = False
        self.link: Link | None = None
        self.error: LinkExpiredError | None = None

    def resolve(self, link: Link | None, error: LinkExpiredError | None = None) -> None:
        self.link, self.error, self.is_answered = link, error, True


def _expired_before_use(link: Link, clock: Clock) -> LinkExpiredError:
    message = "; ".join(filter(None, [ended(link), clock.difference]))
    return numbered(LinkExpiredError(message, code="LinkExpired"), 0)
