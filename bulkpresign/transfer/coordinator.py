"""Requests of a job to the process that holds the credentials, the listings and the caller's own code."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from bulkpresign.errors import TransferError
from bulkpresign.model import Link, ObjectRef, Outcome, ResumePoint, Upload

#: Signs a PUT link, or that of a part, with more headers. Raises TransferError.
SignPut = Callable[[Link, Mapping[str, str]], Awaitable[Link]]
#: The result for the tags that an object is to have: it has them; its server refused these tags; it does not support
#: tags; or it denied to tell them.
Settled = Literal["kept", "refused", "unsupported", "denied"]
#: Makes sure that an object has some tags; its size is known. Raises TransferError.
SettleTags = Callable[[ObjectRef, str | None], Awaitable[Settled]]


class Guard(Protocol):
    """Conditions under which copies are written, so that they replace nothing unknown. Each is one header."""

    def headers(self, ref: ObjectRef) -> Mapping[str, str]:
        """The header of the condition under which an object is written, none where there is no condition."""

    def wrote(self, ref: ObjectRef) -> None:
        """Takes note that this run has written an object."""

    def settled(
        self, ref: ObjectRef, headers: Mapping[str, str], error: TransferError, etags: Collection[str | None]
    ) -> AbstractAsyncContextManager[str | None]:
        """A context in which an object is written again, without a condition.

        Its value is an etag instead, if the object is there already: an earlier attempt was stored, and its response
        lost. `error` is that of the write with the condition `headers`, `etags` are those that the object may have.
        Raises RefusedError where the destination has changed, and `error` where it is not about the condition.
        """


class Coordinator(msgspec.Struct, frozen=True, kw_only=True):
    """Functions of the process that coordinates the run, for its jobs; None where this run has no such function.

    `ask_part_size` tells the size of the parts that an object was uploaded in, None where its server does not tell.
    `refuse_checksum_mode` takes the checksum header out of links that are signed from now on: a server refused it.
    `find_present` gives the outcome of a file (by link and path) whose bytes are at its destination already, else None.
    `may_be_present` tells of a key, without a wait, whether it may find something.
    `open_upload` opens a multipart upload that has no id yet, or finds the one that an earlier run opened: given that
    one's resume point and the etags of its parts, by number. `end_upload` ends an upload that nobody completes any
    more. `receive` takes the bytes of an object that goes to memory. `sign_put` signs the PUT link of a copy with
    headers of its object; without it the PUT links of copies are signed already. `sign_part` signs the link of a part
    of a file with its checksum. `read_tags` reads the tags of the object that a GET link is for, None where they are
    not told: see ObjectHead. `settle_tags` makes sure that a copy has these, or others that all copies are given. Both
    take no slot of the limiter. `guard` has the conditions of copies.
    """

    ask_part_size: Callable[[Link], Awaitable[int | None]] | None = None
    refuse_checksum_mode: Callable[[], None] | None = None
    find_present: Callable[[Link, str], Awaitable[Outcome | None]] | None = None
    may_be_present: Callable[[str], bool] | None = None
    open_upload: Callable[[Upload, ResumePoint | None, Mapping[int, str]], Awaitable[Upload]] | None = None
    end_upload: Callable[[ObjectRef, ResumePoint], Awaitable[None]] | None = None
    receive: Callable[[Link, bytes], None] | None = None
    sign_put: SignPut | None = None
    sign_part: SignPut | None = None
    read_tags: Callable[[Link], Awaitable[str | None]] | None = None
    settle_tags: SettleTags | None = None
    guard: Guard | None = None

    def condition(self, ref: ObjectRef) -> Mapping[str, str]:
        """The header of the condition under which a copy is written, none where there is no condition."""
        return {} if self.guard is None else self.guard.headers(ref)
