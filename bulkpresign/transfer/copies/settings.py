"""The settings that all copies of a run share."""

import msgspec

from bulkpresign.errors import RefusedError
from bulkpresign.events import Listener, ObjectRetried
from bulkpresign.model import ObjectRef


class CopySettings(msgspec.Struct):
    """How the objects of a run are copied.

    `part_size` is that of objects in parts, in bytes; None: see ObjectHead. With `on_server`, the server makes the
    copies, until it answers that it can't, and those in parts until it answers that it can't copy parts
    (`parts_on_server`). `digest` is the algorithm of a digest that is computed of bytes that pass here in one request:
    the parts of other copies come in any order. With `keeps_checksums`, copies in one request are sent with the
    checksums of their objects, until the destination turns out to refuse such headers. With `sends_md5`, what has no
    checksum is sent with the md5 of its bytes, because the destination turned out to take nothing else. With
    `tags`, copies are to have the tags of their objects; `takes_tags` tells whether the destination keeps them, None as
    long as nobody looked.
    """

    part_size: int | None = None
    on_server: bool = False
    digest: str | None = None
    keeps_checksums: bool = True
    parts_on_server: bool = True
    sends_md5: bool = False
    tags: bool = True
    takes_tags: bool | None = None

    @property
    def copies_parts(self) -> bool:
        """True if the server copies the parts of objects."""
        return self.on_server and self.parts_on_server

    def learn_md5(self, ref: ObjectRef, refused: RefusedError, emit: Listener) -> None:
        """Takes note that the destination `refused` what has no digest. Says so once."""
        if not self.sends_md5:
            self.sends_md5 = True
            message = f"{refused} (this and all other copies are sent with a checksum, or else with their md5)"
            emit(ObjectRetried(ref, refused.attempt, 0.0, refused.code, message))

    def learn_no_tags(self, ref: ObjectRef, refused: RefusedError, emit: Listener) -> None:
        """Takes note that the destination `refused` tags, and stores copies without. Says so once."""
        if self.takes_tags is not False:
            self.takes_tags = False
            message = f"{refused} (the server knows no tags: this and all other copies are sent without)"
            emit(ObjectRetried(ref, refused.attempt, 0.0, refused.code, message))
