"""The side of a copy that is read: responses through its GET link, which is renewed where it expires."""

from collections.abc import Mapping
from contextlib import AsyncExitStack

import msgspec

from bulkpresign.checksums import CHANGED
from bulkpresign.errors import MismatchError
from bulkpresign.http.client import DirectRequest
from bulkpresign.http.response import Response
from bulkpresign.model import Link, ObjectRef
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.copies.head import ObjectHead
from bulkpresign.transfer.downloads.content_range import RANGE_MISMATCH
from bulkpresign.transfer.downloads.responses import refusal
from bulkpresign.transfer.engine.jobs import RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer

#: The statuses of a server that honours If-Match, where the object is another one, or is too short for the range.
_IS_ANOTHER = frozenset({412, 416})


class SourceReader:
    """Opens responses with one object, or with ranges of its bytes."""

    def __init__(
        self,
        context: TransferContext,
        coordinator: Coordinator,
        renewer: LinkRenewer,
        source: RenewableLink,
        *,
        reads_tags: bool,
    ) -> None:
        self._context, self._coordinator = context, coordinator
        self._renewer, self.source = renewer, source
        #: False where the copy is to be sent without the tags of the object.
        self.reads_tags = reads_tags
        #: True once the object turned out to have tags, which its copy is sent with.
        self.has_read_tags = False

    @property
    def link(self) -> Link:
        """The current GET link."""
        return self.source.link

    @property
    def object(self) -> ObjectRef:
        """The object to copy."""
        return self.source.object

    async def head(self) -> ObjectHead:
        """The head of the object, by a request for it. Raises TransferError."""
        async with AsyncExitStack() as stack:
            return self.head_of(await self.open(stack))

    def head_of(self, response: Response) -> ObjectHead:
        """The head of the object, by this response. Raises TransferError, see ObjectHead."""
        return ObjectHead.of(self.link, response.length, response.etag, response.headers)

    async def with_tags(self, head: ObjectHead) -> ObjectHead:
        """The head with the tags of the object, if it has some, and if this run copies and may read them.

        Takes no slot of the limiter: the caller has one. Raises TransferError.
        """
        read = self._coordinator.read_tags
        if read is None or not (head.has_tags and self.reads_tags):
            return head
        tags = await read(self.link)
        self.has_read_tags = bool(tags)
        return head if tags is None else msgspec.structs.replace(head, has_tags=bool(tags), tags=tags)

    async def tagged_head(self) -> ObjectHead:
        """The head of the object, with its tags: see `with_tags`."""
        return await self.with_tags(await self.head())

    async def open(
        self, stack: AsyncExitStack, headers: Mapping[str, str] | None = None, sent: DirectRequest | None = None
    ) -> Response:
        """A response with the object, or with the range that `headers` ask for, open until the `stack` ends.

        `sent` is the first request, if that was sent already. Raises TransferError, among them MismatchError with the
        code ObjectChanged.
        """
        status = 206 if headers and "Range" in headers else 200

        first = iter((sent,))

        async def opened(link: Link) -> Response:
            request = next(first, None) or self._context.http.request(link, headers)
            response = await stack.enter_async_context(request)
            if response.status == status:
                return response
            if response.status in _IS_ANOTHER:
                raise changed()
            if response.status == 200:
                raise MismatchError("a range was asked for, the answer has the whole object", code=RANGE_MISMATCH)
            raise await refusal(link, response, self._coordinator.refuse_checksum_mode)

        return await self._renewer.call(self.source, opened)


def changed() -> MismatchError:
    """The error of an object that is another one than when its copy began."""
    return MismatchError("the object changed while it was copied: run this again", code=CHANGED)
