"""One large object at a server with faults, and fetched in parts: what the tests of that share."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bulkpresign.checksums import base64_of, hasher
from bulkpresign.ledger.journal import Journal
from bulkpresign.model import Link, Outcome
from bulkpresign.transfer.downloads.existing import IfExists
from tests.servers.proxy import FaultProxy, Seen
from tests.transfer.running import Run, reference

KIB = 1 << 10
PART = 100 * KIB
BODY = os.urandom(10 * PART + 5000)
ETAG = '"opaque"'
EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


def crc64(body: bytes = BODY) -> str:
    value = hasher("crc64nvme")
    value.update(body)
    return f"crc64nvme:{base64_of(value.digest())}"


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    """A server with the object at `/a`, whose etag is no hash."""
    with FaultProxy() as proxy:
        proxy.objects["/a"] = BODY
        proxy.etags["/a"] = ETAG
        proxy.gives_ranges = True
        yield proxy


#: What a manifest may know of the object: enough for a plan, or so little that the first answer has to tell.
KNOWN = {"size": len(BODY), "checksum": crc64()}
KNOWLEDGE: dict[str, dict[str, object]] = {"planned": KNOWN, "told": {}}
knowledge = pytest.mark.parametrize("ref", KNOWLEDGE.values(), ids=KNOWLEDGE)


class Got:
    """One object, fetched in parts to `folder/a`."""

    def __init__(
        self,
        origin: FaultProxy,
        folder: Path,
        ref: dict[str, object] | None = None,
        *,
        part_concurrency: int = 3,
        attempts: int = 3,
        part_size: int = PART,
        journal: Path | None = None,
        if_exists: IfExists = "replace",
    ) -> None:
        self.run = Run()
        self.before = origin.count
        link = Link("GET", f"{origin.url}/a?X-Amz-Signature=secret", {}, object=reference(ref or {}))

        async def get(journal: Journal | None) -> None:
            await self.run.in_parts(
                [link],
                folder,
                part_size,
                part_concurrency,
                attempts=attempts,
                journal=journal,
                renew=self.renew,
                if_exists=if_exists,
            )

        if journal is None:
            asyncio.run(get(None))
        else:
            with Journal(journal, "get", "x") as opened:
                asyncio.run(get(opened))
                if self.outcome.status == "done":
                    opened.record(self.run.outcomes)
        # a request of a run that was cut may arrive late
        self.seen = [seen for seen in origin.seen[self.before :] if "X-Amz-Signature=" in seen.target]

    async def renew(self, links: Sequence[Link]) -> Sequence[Link | None]:
        return links

    @property
    def outcome(self) -> Outcome:
        (outcome,) = self.run.outcomes
        return outcome

    @property
    def asked(self) -> list[tuple[int, int] | None]:
        """The ranges that were asked for, None for the whole object.

        A response with the whole object is left after its first bytes. The request for the rest of the first part is
        left out here: how much of it is left depends on the size of the first read.
        """
        ranges = [range_of(seen) for seen in self.seen]
        return [each for each in ranges if each is None or each[0] % PART == 0 or None not in ranges]

    def check(self, body: bytes = BODY, verified_by: str | None = None) -> None:
        assert (self.outcome.status, self.outcome.code) == ("done", None)
        assert self.outcome.bytes == len(body)
        assert verified_by is None or self.outcome.verified_by == verified_by


def range_of(seen: Seen) -> tuple[int, int] | None:
    value = seen.header("range")
    if value is None:
        return None
    first, _, last = value.removeprefix("bytes=").partition("-")
    return int(first), int(last)


def parts_of(size: int, part_size: int = PART) -> list[tuple[int, int]]:
    return [(at, min(at + part_size, size) - 1) for at in range(0, size, part_size)]
