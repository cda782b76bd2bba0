"""Links whose lease is over, and fresh ones for them."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
import anyio.lowlevel
import msgspec

from bulkpresign.errors import LinkExpiredError
from bulkpresign.model import Link, Upload, UploadPart
from bulkpresign.transfer.answers import ended
from bulkpresign.transfer.clock import Clock
from bulkpresign.transfer.retrying import numbered

T = TypeVar("T")

#: How often one link is renewed with nothing to show for it. One that is refused as soon as it is fresh would go on for
#: ever; a large object may need any number of links.
MAX_RENEWALS = 10

#: Links asked for at once, where a whole batch has lapsed.
RENEWAL_BATCH = 1024

#: Gives for each link a fresh one for the same object, or None where there is none. Raises LinkExpiredError where it
#: can't say for any of them.
Renew = Callable[[Sequence[Link]], Awaitable[Sequence[Link | None]]]


class Lease(msgspec.Struct, frozen=True, gc=False):
    """A link on its way through the engine, and where a fresh one comes from (None: from nowhere).

    Of an object that goes up in parts, `link` completes the `upload`, which has the other ones; `renew` is for all of
    them. `part` says which part a link is for, where it is for one.
    """

    link: Link
    renew: Renew | None = None
    upload: Upload | None = None
    part: UploadPart | None = None


class Renewals:
    """Asks for fresh links in batches, however many workers find theirs lapsed at once.

    Leases that are still waiting in line (in `ready`, unless another line is given) and have lapsed as well are renewed
    along the way.
    """

    def __init__(self, ready: deque[Lease], clock: Clock) -> None:
        self._ready = ready
        self._clock = clock
        self._asked: list[_Asked] = []
        self._lock = anyio.Lock()

    async def through(self, lease: Lease, work: Callable[[Link], Awaitable[T]], line: deque[Lease] | None = None) -> T:
        """What `work` makes of a link; where its lease is over, or the server says so, of a fresh one.

        Until a server told its time, a link that is over by this machine's clock is renewed where it can be; where it
        can't, or the fresh one is over as well, it is sent: the clock may be wrong.
        """
        link = lease.link
        renewals_left = MAX_RENEWALS if lease.renew is not None else 0
        trusts_clock = lease.renew is not None
        not_renewed: LinkExpiredError | None = None
        while True:
            try:
                if link.lapsed(self._clock.now()) and (self._clock.is_set or trusts_clock):
                    await anyio.lowlevel.checkpoint()
                    raise _lapsed(link, self._clock)
                return await work(link)
            except LinkExpiredError as error:
                if not_renewed is not None:
                    raise numbered(not_renewed, error.attempt) from None
                if error.has_served and lease.renew is not None:
                    renewals_left = MAX_RENEWALS
                if not renewals_left:
                    raise
                renewals_left -= 1
                sent = error.attempt
            trusts_clock = False
            try:
                link = await self.fresh(Lease(link, lease.renew), line)
            except LinkExpiredError as error:
                not_renewed = numbered(error, sent)
                if sent or self._clock.is_set:
                    raise not_renewed from None

    async def fresh(self, lease: Lease, line: deque[Lease] | None = None) -> Link:
        """A fresh link. Raises LinkExpiredError where there is none."""
        asked = _Asked(lease, self._ready if line is None else line)
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
        renew = first.lease.renew
        assert renew is not None  # noqa: S101 - whoever has no source does not ask
        together = [asked for asked in self._asked if asked.lease.renew is renew]
        self._asked = [asked for asked in self._asked if asked.lease.renew is not renew]
        waiting = self._take_lapsed(renew, first.line)
        try:
            links = await renew([asked.lease.link for asked in together] + [lease.link for lease in waiting])
            waiting = [
                Lease(link, renew, part=lease.part) if link else Lease(lease.link, part=lease.part)
                for lease, link in zip(waiting, links[len(together) :], strict=True)
            ]
            for asked, link in zip(together, links, strict=False):
                asked.answer(link)
        except LinkExpiredError as error:
            for asked in together:
                asked.answer(None, error)
        finally:
            first.line.extendleft(reversed(waiting))

    def _take_lapsed(self, renew: Renew, line: deque[Lease]) -> list[Lease]:
        """Takes those out of the line that have lapsed too, for the line moves on meanwhile.

        An upload stays: it has its links renewed as their turn comes.
        """
        now = self._clock.now()
        lapsed = [lease for lease in line if lease.renew is renew and lease.upload is None and lease.link.lapsed(now)][
            :RENEWAL_BATCH
        ]
        if lapsed:
            taken = set(map(id, lapsed))
            others = [lease for lease in line if id(lease) not in taken]
            line.clear()
            line.extend(others)
        return lapsed


class _Asked:
    """One worker's question, and its answer."""

    def __init__(self, lease: Lease, line: deque[Lease]) -> None:
        self.lease = lease
        self.line = line
        self.is_answered = False
        self.link: Link | None = None
        self.error: LinkExpiredError | None = None

    def answer(self, link: Link | None, error: LinkExpiredError | None = None) -> None:
        self.link, self.error, self.is_answered = link, error, True


def _lapsed(link: Link, clock: Clock) -> LinkExpiredError:
    message = "; ".join(filter(None, [ended(link), clock.difference]))
    return numbered(LinkExpiredError(message, code="LinkExpired"), 0)
