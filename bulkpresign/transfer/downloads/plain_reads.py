"""Small objects from one response into memory, or into a digest, without a wait: see `engine.plain_jobs`."""

import time
from collections.abc import Callable

import msgspec

from bulkpresign.checksums import base64_of, digest_of
from bulkpresign.http.client import PlainRequest
from bulkpresign.http.connection import Chunk
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.model import Link, Outcome
from bulkpresign.transfer.downloads.plain_gets import PlainGets
from bulkpresign.transfer.engine.jobs import Digest, Job, RenewableLink
from bulkpresign.transfer.engine.plain_jobs import StoreSteps

#: Takes the bytes of an object.
Receive = Callable[[Link, bytes], None]


class PlainReads:
    """Prepares plain jobs for objects whose bytes are received, or hashed."""

    def __init__(self, gets: PlainGets, receive: Receive | None) -> None:
        self._gets, self._receive = gets, receive

    def prepare(self, job: Job) -> "PlainRead | None":
        """A plain job with its request, None for another one: see PlainWork."""
        source, now = job.source, time.monotonic()
        if type(source) is not RenewableLink:
            return None
        request = self._gets.request(source.link, now)
        return None if request is None else PlainRead(self._gets, job, self._receive, request, now)


class PlainRead:
    """One object: see PlainJob."""

    __slots__ = ("_began", "_gets", "_receive", "job", "request")

    def __init__(self, gets: PlainGets, job: Job, receive: Receive | None, request: PlainRequest, began: float) -> None:
        self.job, self.request = job, request
        self._gets, self._receive, self._began = gets, receive, began

    def close(self) -> None:
        """Nothing is open: see PlainJob."""

    def store(self, response: ResponseParser, body: Chunk) -> StoreSteps:
        """The outcome of a job whose whole response is here: see PlainJob."""
        link, target = self.job.link, self.job.target
        verified = self._gets.verified(link, response, body)
        if verified is None:
            return None
        yield
        ref = link.object
        if isinstance(target, Digest):
            checksum = f"{target.algorithm}:{base64_of(digest_of(target.algorithm, body))}"
            ref = msgspec.structs.replace(ref, size=len(body), checksum=checksum)
        elif self._receive is not None:
            self._receive(link, bytes(body))
        seconds = time.monotonic() - self._began
        return Outcome(ref, "done", len(body), 1, verified.by, link=link, seconds=seconds)
