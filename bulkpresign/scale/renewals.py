"""Renews the links of jobs that workers gave back because they had expired."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TypeGuard

from bulkpresign.errors import LinkExpiredError
from bulkpresign.model import Outcome
from bulkpresign.scale.copies import unsign
from bulkpresign.scale.messages import Finished, outcome_of
from bulkpresign.transfer.engine.jobs import Job, RenewableLink
from bulkpresign.transfer.engine.workers import failed_outcome

Finish = Callable[[Sequence[Outcome]], None]


def can_be_renewed(job: Job) -> bool:
    """True for a job with a link that can be renewed."""
    side = job.renewable
    return side is not None and side.renew is not None


async def renew_expired(
    expired: Mapping[int, Finished], left: dict[int, Job], finish: Finish, *, signs_puts: bool
) -> None:
    """Renews the links of jobs in `left`. Those that get no fresh one end with their outcome, and are taken out.

    `expired` has their outcomes, by index. Of a copy, both links are renewed: its outcome does not tell which one
    expired. With `signs_puts`, PUT links are signed when the job is handed out again.
    """
    if signs_puts:
        for index in expired:
            unsign(left[index])
    for side_of in (attrgetter("source"), attrgetter("target")):
        sides = {index: side for index in expired if index in left and _can_renew(side := side_of(left[index]))}
        await _renew_sides(sides, expired, left, finish)


async def _renew_sides(
    sides: Mapping[int, RenewableLink], expired: Mapping[int, Finished], left: dict[int, Job], finish: Finish
) -> None:
    for renew, group in groupby(sides, lambda index: sides[index].renew):
        assert renew is not None  # noqa: S101 - others are not renewed
        indexes = list(group)
        try:
            links = await renew([sides[index].link for index in indexes])
        except LinkExpiredError as error:
            finish([failed_outcome(left.pop(index), error) for index in indexes])
            continue
        for index, link in zip(indexes, links, strict=True):
            if link is None:
                finish([outcome_of(expired[index], left.pop(index))])
            else:
                sides[index].link = link


def _can_renew(side: object) -> TypeGuard[RenewableLink]:
    return isinstance(side, RenewableLink) and side.renew is not None
