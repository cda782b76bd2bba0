"""Copies by workers, which can sign nothing.

A PUT link needs the headers of its object. Where these are known beforehand, it goes to the worker signed; else the
worker asks for the object, and gives the job back with its headers, to be signed and handed out again. A copy in parts
is made by the coordinating process, which opens and completes its upload, and so is one whose condition is refused, or
whose object has tags.
"""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import msgspec

from bulkpresign.errors import RefusedError
from bulkpresign.model import Link, Status
from bulkpresign.transfer.coordinator import Guard, SignPut
from bulkpresign.transfer.copies.head import is_copied_in_parts
from bulkpresign.transfer.copies.on_server import SOURCE, copy_headers
from bulkpresign.transfer.engine.jobs import Job, RenewableLink
from bulkpresign.transfer.engine.part_sizes import LARGE_UPLOAD
from bulkpresign.transfer.spec import TransferSpec
from bulkpresign.transfer.uploads.requests import condition_of
from bulkpresign.transfer.uploads.store import signed_checksum

#: The codes of jobs that a worker gives back: to be signed, and to be done by the coordinating process.
UNSIGNED, _IN_PARTS, _TAGGED = "PutUnsigned", "InParts", "Tagged"
RETURNED = frozenset({_IN_PARTS, _TAGGED})


class WorkersCopies:
    """The worker's side: takes the place of the functions that sign PUT links and open uploads."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        sides = ((index, job.target) for index, job in enumerate(jobs))
        self._indexes = {id(side.link): index for index, side in sides if isinstance(side, RenewableLink)}
        #: The headers with which the PUT links of jobs are to be signed, by the indexes of the jobs.
        self.wanted: dict[int, Mapping[str, str]] = {}

    async def sign_put(self, put: Link, headers: Mapping[str, str]) -> Link:
        """The same link, if it is signed with such headers. Raises RefusedError: the job goes back."""
        if put.url and headers.keys() <= {name.lower() for name in put.headers}:
            return put
        self.wanted[self._indexes[id(put)]] = headers
        raise RefusedError("the PUT link has to be signed with the headers of the object", code=UNSIGNED)

    async def open_upload(self, *_: object) -> NoReturn:
        """Raises RefusedError: the job goes back."""
        raise RefusedError("the object has to be copied in parts", code=_IN_PARTS)

    async def read_tags(self, _: Link) -> NoReturn:
        """Raises RefusedError: the job goes back."""
        raise RefusedError("the object has tags, which have to be read", code=_TAGGED)


def is_made_in_parts(job: Job, spec: TransferSpec) -> bool:
    """True for a copy of which its row tells that it is made in parts, or that an earlier run began."""
    if not isinstance(job.source, RenewableLink) or not isinstance(job.target, RenewableLink):
        return False
    is_large = (job.object.size or 0) > (spec.part_size or LARGE_UPLOAD) and not spec.copies_on_server
    return job.checkpoint is not None or is_large or is_copied_in_parts(job.object, spec.part_size)


async def sign_server_copy(job: Job, sign: SignPut, guard: Guard | None) -> None:
    """Signs the PUT link with which the server itself copies the object. Raises TransferError."""
    if isinstance(job.target, RenewableLink) and not job.target.link.url:
        await _sign(job.target, sign, guard, copy_headers(job.object, job.object.etag))


async def sign_relayed_copy(job: Job, sign: SignPut, guard: Guard | None, headers: Mapping[str, str]) -> None:
    """Signs the PUT link of a copy with the headers of its object. Raises TransferError."""
    unsign(job)
    if isinstance(job.target, RenewableLink):
        await _sign(job.target, sign, guard, headers)


async def _sign(target: RenewableLink, sign: SignPut, guard: Guard | None, headers: Mapping[str, str]) -> None:
    condition = {} if guard is None else guard.headers(target.link.object)
    target.link = await sign(target.link, {**headers, **condition})


def is_refused_copy(job: Job, status: Status) -> bool:
    """True for a copy that failed with a condition or a checksum: the coordinating process has to find out why."""
    target = job.target
    if status != "failed" or not isinstance(target, RenewableLink):
        return False
    if target.object.path is not None:  # the address in a row: its link was not signed here
        return False
    return bool(condition_of(target.link)) or signed_checksum(target.link).algorithm is not None


def unsign(job: Job) -> None:
    """Makes the PUT link of a copy one that is to be signed."""
    if isinstance(job.source, RenewableLink) and isinstance(job.target, RenewableLink):
        job.target.link = Link("PUT", "", {}, None, job.target.link.object)


def relays(spec: TransferSpec, headers: Mapping[str, str]) -> bool:
    """True if a worker relays a copy that the specification leaves to the server, which can't make it."""
    return spec.copies_on_server and SOURCE not in headers


def without_server_copies(spec: TransferSpec) -> TransferSpec:
    """The same, for a server that can't copy."""
    return msgspec.structs.replace(spec, copies_on_server=False)
