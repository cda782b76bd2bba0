"""The settings that all copies of a run share."""

import msgspec


class CopySettings(msgspec.Struct):
    """How the objects of a run are copied.

    `part_size` is that of objects in parts, in bytes; None: see ObjectHead. With `on_server`, the server makes the
    copies, until it answers that it can't, and those in parts until it answers that it can't copy parts
    (`parts_on_server`). `digest` is the algorithm of a digest that is computed of bytes that pass here in one request:
    the parts of other copies come in any order. With `keeps_checksums`, copies in one request are sent with the
    checksums of their objects, until the destination turns out to refuse such headers.
    """

    part_size: int | None = None
    on_server: bool = False
    digest: str | None = None
    keeps_checksums: bool = True
    parts_on_server: bool = True

    @property
    def copies_parts(self) -> bool:
        """True if the server copies the parts of objects."""
        return self.on_server and self.parts_on_server
