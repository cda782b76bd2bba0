"""Makes sure that copies have the tags of their objects, and counts those that have not.

Some servers ignore the tags with which an object is stored, others those with which an upload in parts is opened.
"""

from functools import partial

import msgspec

from bulkpresign.errors import RefusedError, TransferError
from bulkpresign.events import TagsDropped
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator, Settled, SettleTags
from bulkpresign.transfer.copies.proof import Copied
from bulkpresign.transfer.copies.settings import CopySettings
from bulkpresign.transfer.copies.source import SourceReader
from bulkpresign.transfer.copies.tags import with_tags_hint
from bulkpresign.transfer.engine.retries import numbered


class TagSettler:
    """Looks at the tags of copies, where it is not known that the destination keeps them."""

    def __init__(self, context: TransferContext, coordinator: Coordinator, settings: CopySettings) -> None:
        self._context, self._coordinator, self._settings = context, coordinator, settings

    async def settle_present(self, reader: SourceReader, copy: ObjectRef) -> None:
        """Settles the tags of a copy that an earlier run completed: it may have ended before it could do that."""
        if self._coordinator.settle_tags is None:
            return
        head, _ = await self._context.retried(reader.tagged_head, reader.object)
        unsure = Copied(
            head.size or 0, None, None, lacks_tags=head.has_unknown_tags, tags=head.tags, may_lack_tags=True
        )
        await self.settle(unsure, reader.object, copy)

    async def settle(self, copied: Copied, ref: ObjectRef, copy: ObjectRef) -> None:
        """Makes sure that a copy has its tags, where that is not known, or tells that it lacks them."""
        settings, settle = self._settings, self._coordinator.settle_tags
        lacks_tags = copied.lacks_tags and settings.tags
        was_sent_with_tags = bool(copied.tags) or not settings.tags  # those of its object, or those for all copies
        if settle is not None and (copied.may_lack_tags or (was_sent_with_tags and settings.takes_tags is None)):
            found = await self._settled(settle, ref, msgspec.structs.replace(copy, size=copied.size), copied.tags)
            if not copied.may_lack_tags and found != "refused":
                settings.takes_tags = found != "unsupported"
            # a copy that was sent with tags in one request has them, if its server knows tags
            lacks_tags = lacks_tags or (found != "kept" and (copied.may_lack_tags or found != "denied"))
        elif settle is not None and was_sent_with_tags and settings.takes_tags is False:
            lacks_tags = True
        if lacks_tags:
            self._context.emit(TagsDropped(ref))

    async def _settled(self, settle: SettleTags, ref: ObjectRef, copy: ObjectRef, tags: str | None) -> Settled:
        try:
            return (await self._context.retried(partial(settle, copy, tags), ref))[0]
        except TransferError as error:
            message = f"{copy.uri} was copied, and its tags can't be written: {error}"
            failed = RefusedError(message, code=error.code, status=error.status)
            raise numbered(with_tags_hint(failed, has_tags=bool(tags)), error.attempt) from error
