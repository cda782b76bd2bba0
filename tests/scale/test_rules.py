"""Which jobs workers get, what they need for them, and what comes back: decisions without a worker."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from bulkpresign.errors import LinkExpiredError
from bulkpresign.model import Checkpoint, Link, ObjectRef, Outcome, ResumePoint
from bulkpresign.scale.copies import is_made_in_parts, is_refused_copy
from bulkpresign.scale.messages import finished
from bulkpresign.scale.part_sizes import with_part_sizes
from bulkpresign.scale.renewals import can_be_renewed, renew_expired
from bulkpresign.transfer.engine.jobs import Job, LocalFile, Renew, RenewableLink
from bulkpresign.transfer.spec import TransferSpec

OBJECT, COPY = ObjectRef("from", "k", size=10), ObjectRef("to", "k")
EXPIRED = finished(0, Outcome(OBJECT, "expired", message="the link has expired"))


def copy(headers: dict[str, str] | None = None, target: ObjectRef = COPY, renew: Renew | None = None) -> Job:
    get = Link("GET", "https://h/from/k?X-Amz-Signature=1", {}, None, OBJECT)
    put = Link("PUT", "https://h/to/k?X-Amz-Signature=1", headers or {}, None, target)
    return Job(RenewableLink(get, renew), RenewableLink(put, renew))


def test_a_copy_that_an_earlier_run_began_is_made_in_parts() -> None:
    job = copy()
    assert not is_made_in_parts(job, TransferSpec())
    begun = msgspec.structs.replace(job, checkpoint=Checkpoint(ResumePoint("upload", 10, 5)))
    assert is_made_in_parts(begun, TransferSpec())
    assert is_made_in_parts(job, TransferSpec(part_size=5))


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({}, False),
        ({"If-None-Match": "*"}, True),
        ({"if-match": '"e"'}, True),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, True),
    ],
)
def test_a_copy_that_failed_with_a_condition_or_a_checksum(headers: dict[str, str], is_refused: bool) -> None:
    job = copy(headers)
    assert is_refused_copy(job, "failed") is is_refused
    assert not is_refused_copy(job, "expired")
    by_links = copy(headers, msgspec.structs.replace(COPY, path="https://h/to/k"))
    assert not is_refused_copy(by_links, "failed")


def test_part_sizes_are_asked_for_where_a_digest_may_be_that_of_parts() -> None:
    asked: list[str] = []

    async def ask(link: Link) -> int | None:
        asked.append(link.object.key)
        return 5 << 20

    refs = [ObjectRef("b", "whole", etag="e" * 32), ObjectRef("b", "parts", size=11 << 20, etag=f"{'e' * 32}-3")]
    jobs = [Job(RenewableLink(Link("GET", "https://h/k", {}, None, ref)), LocalFile(ref.key)) for ref in refs]
    whole, parts = asyncio.run(with_part_sizes(jobs, ask))
    assert asked == ["parts"]
    assert whole is jobs[0]
    assert parts.object.extra == {"part_size": 5 << 20}


def test_copies_whose_links_expired() -> None:
    """With credentials, the PUT links are signed later. An error of the renewal is the objects' outcome."""
    ended: list[Outcome] = []

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        if any(link.method == "PUT" and link.url for link in links):
            raise LinkExpiredError("the command failed", code="RenewalFailed")
        return [msgspec.structs.replace(link, url=f"{link.url}&fresh") for link in links]

    for signs_puts, codes in ((True, []), (False, ["RenewalFailed"])):
        left = {7: copy(renew=renew)}
        asyncio.run(renew_expired({7: EXPIRED}, left, ended.extend, signs_puts=signs_puts))
        assert [outcome.code for outcome in ended] == codes
        assert [job.source.link.url[-5:] for job in left.values() if isinstance(job.source, RenewableLink)] == (
            ["fresh"] if signs_puts else []
        )


def test_of_a_copy_each_side_is_renewed_that_can_be() -> None:
    """A side that gets no fresh link ends the copy, with the outcome that it had."""
    ended: list[Outcome] = []

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        return [None if link.object.key == "gone" else msgspec.structs.replace(link, url="fresh") for link in links]

    gone, by_source = copy(renew=renew), copy(renew=renew)
    assert isinstance(gone.source, RenewableLink)
    assert isinstance(by_source.target, RenewableLink)
    gone.source.link = msgspec.structs.replace(gone.source.link, object=ObjectRef("from", "gone"))
    by_source.target.renew = None
    assert not can_be_renewed(copy())
    assert can_be_renewed(by_source)
    left = {0: gone, 1: by_source}
    asyncio.run(renew_expired({0: EXPIRED, 1: EXPIRED}, left, ended.extend, signs_puts=False))
    assert [(outcome.object.key, outcome.message) for outcome in ended] == [("gone", EXPIRED.message)]
    assert list(left) == [1]
    assert [side.link.url == "fresh" for side in (by_source.source, by_source.target)] == [True, False]  # type: ignore[union-attr]
