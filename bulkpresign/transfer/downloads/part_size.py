"""The size of the parts that an object was uploaded in: its composite checksum or etag can't be compared without."""

from collections.abc import Awaitable, Callable

import msgspec

from bulkpresign.checksums import expected_digest
from bulkpresign.checksums.sources import PART_SIZE_COLUMN
from bulkpresign.model import Link

AskPartSize = Callable[[Link], Awaitable[int | None]]


async def with_part_size(link: Link, ask: AskPartSize | None) -> Link:
    """The link, with the part size that `ask` tells in the row of its object, where that needs one."""
    ref = link.object
    is_composite = "-" in (ref.checksum or ref.etag or "")
    if ask is None or not is_composite or expected_digest(ref).part_size is not None:
        return link
    size = await ask(link)
    if size is None:
        return link
    extra = (ref.extra or {}) | {PART_SIZE_COLUMN: size}
    return msgspec.structs.replace(link, object=msgspec.structs.replace(ref, extra=extra))
