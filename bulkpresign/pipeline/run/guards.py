"""Guards of copies: a copy replaces what the listing of the destination had, and nothing else.

The PUT of a copy has `If-Match` with the listed etag, or `If-None-Match: *` for a key that was not listed. Servers
differ: some refuse the headers, some ignore them, and Ceph 18 refuses every `If-Match` of a PUT.
Source: docs "How to prevent object overwrites with conditional writes".
"""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager

from bulkpresign.checksums import CHANGED
from bulkpresign.errors import CredentialsError, LinkExpiredError, RefusedError, RegionError, TransferError
from bulkpresign.events import Listener, ObjectRetried
from bulkpresign.http.client import HttpClient
from bulkpresign.model import ObjectRef
from bulkpresign.pipeline.run.copies import PresentCopies
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.downloads.ranges import is_strong

_IF_MATCH, _IF_NONE_MATCH = "if-match", "if-none-match"
#: Statuses with which servers refuse a header. 403: If-Match needs the permission to read, a PUT without it does not.
_REFUSALS = frozenset({400, 403, 501})


class DestinationGuard:
    """The conditions of writes, by the listing of the destination: see `transfer.coordinator.Guard`.

    `replaces` is False for a run that replaces nothing, where the destination could not be listed too. A header that
    the server turns out not to support is sent no more; `emit` gets one event about it.
    """

    def __init__(
        self, presigner: Presigner, http: HttpClient, present: PresentCopies, emit: Listener, *, replaces: bool
    ) -> None:
        self._presigner, self._http, self._present, self._emit = presigner, http, present, emit
        self._replaces = replaces
        self._unsupported: set[str] = set()
        #: Keys without a condition: those that this run wrote, and those that it sends again now.
        self._written, self._sent_again = set[str](), set[str]()

    def headers(self, ref: ObjectRef) -> Mapping[str, str]:
        """The header of the condition under which an object is written, none where there is no condition."""
        if ref.key in self._written or ref.key in self._sent_again:
            return {}
        headers = self._condition(ref.key)
        return {} if self._unsupported & headers.keys() else headers

    def wrote(self, ref: ObjectRef) -> None:
        """Takes note that this run has written an object, which is not as it was listed from then on."""
        self._written.add(ref.key)

    @asynccontextmanager
    async def settled(
        self, ref: ObjectRef, headers: Mapping[str, str], error: TransferError, etags: Collection[str | None]
    ) -> AsyncGenerator[str | None, None]:
        """A context in which an object is written again, without a condition.

        Its value is an etag instead, if the object is there already: an earlier attempt was stored, and its response
        lost. `error` is that of the write with the condition `headers`, `etags` are those that the object may have.
        Raises RefusedError where the destination has changed, and `error` where it is not about the condition.
        """
        if not headers or not (error.status in _REFUSALS or _is_precondition(error)):
            raise error
        if _is_precondition(error):
            found = await self._found(ref)
            if found is not None and found in etags:
                yield found
                return
            if found != self._listed_etag(ref.key):
                raise self._changed(ref) from error
        self._sent_again.add(ref.key)
        try:
            yield None
        finally:
            self._sent_again.discard(ref.key)
        self._give_up(ref, next(iter(headers)), error)

    def _condition(self, key: str) -> dict[str, str]:
        if not self._present.is_listed:
            return {} if self._replaces else {_IF_NONE_MATCH: "*"}
        etag = self._listed_etag(key)
        if etag is None:
            return {_IF_NONE_MATCH: "*"}
        return {_IF_MATCH: f'"{etag}"'} if is_strong(etag) else {}

    def _listed_etag(self, key: str) -> str | None:
        listed = self._present.listed(key)
        return None if listed is None else listed.etag

    def _give_up(self, ref: ObjectRef, name: str, error: TransferError) -> None:
        """Sends a header no more: without it, the server stores what it refused with it."""
        if name in self._unsupported:
            return
        self._unsupported.add(name)
        message = f"{error} (the server does not support {name} here: this and all other copies are sent without it)"
        self._emit(ObjectRetried(ref, error.attempt, 0.0, error.code, message))

    def _changed(self, ref: ObjectRef) -> RefusedError:
        since = " since the destination was listed" if self._present.is_listed else ""
        message = f"{ref.uri} was written or deleted by others{since}, so it is left as it is: run this again"
        return RefusedError(message, code="DestinationChanged", status=412)

    async def _found(self, ref: ObjectRef) -> str | None:
        """The etag of the object that is there now, None if there is none; empty if that is not told.

        Raises TransferError where another attempt can find it out.
        """
        try:
            await self._presigner.prepare([bare := ObjectRef(ref.bucket, ref.key)])
            (link,) = self._presigner.sign_batch([bare], "HEAD")
            async with self._http.request(link) as response:
                if response.status == 404:
                    return None
                if response.status != 200:
                    raise await response.error(link)
                return response.etag or ""
        except (RefusedError, LinkExpiredError, CredentialsError, RegionError):
            return ""


def _is_precondition(error: TransferError) -> bool:
    """True for the errors of a condition that is not met. Some servers answer 404 where there is nothing to match.

    A server that copies says the same of the source, which has a condition too.
    """
    return error.status == 412 or error.code in {CHANGED, "NoSuchKey"}
