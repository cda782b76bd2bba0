"""A job: one object to move, and where fresh links for it come from."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bulkpresign.model import Link, Upload, UploadPart

#: Gives for each link a fresh one for the same object, or None where there is none. Raises LinkExpiredError where it
#: can't say for any of them.
Renew = Callable[[Sequence[Link]], Awaitable[Sequence[Link | None]]]


class Job(msgspec.Struct, frozen=True, gc=False):
    """A link on its way through the engine, and where a fresh one comes from (None: from nowhere).

    Of an object that goes up in parts, `link` completes the `upload`, which has the other ones; `renew` is for all of
    them. `part` says which part a link is for, where it is for one.
    """

    link: Link
    renew: Renew | None = None
    upload: Upload | None = None
    part: UploadPart | None = None
