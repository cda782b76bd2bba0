"""What a transfer may use: requests in flight, sizes of parts, attempts, bytes a second."""

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.transfer.downloads.download import PART_SIZE

PART_CONCURRENCY = 8


class TransferConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a transfer. Each is at least 1. Raises ParameterError for less.

    `concurrency`: objects in flight, 64 by default.
    `part_size`: bytes of one part, 64 MiB by default. A larger object moves in parts of this size.
    `part_concurrency`: parts in flight of one object, 8 by default.
    `attempts`: attempts per request, for errors that a retry can fix, 5 by default.
    `limit_rate`: bytes a second of the whole run; None (the default) is no limit.
    `limit`: objects of the whole run, without those that are done already; None (the default) is no limit.

    Memory is at most `concurrency x part_concurrency x 512 KiB`: the buffers of each request in flight.
    """

    concurrency: int = 64
    part_size: int = PART_SIZE
    part_concurrency: int = PART_CONCURRENCY
    attempts: int = 5
    limit_rate: int | None = None
    limit: int | None = None

    @property
    def requests(self) -> int:
        """How many requests may be in flight."""
        return self.concurrency * self.part_concurrency

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ParameterError(f"{name} of {value} is not at least 1")


def config_of(config: TransferConfig | None, **given: int | None) -> TransferConfig:
    """The bounds of a call: those of `config`, but for the keywords that are given beside it (not None)."""
    changes = {name: value for name, value in given.items() if value is not None}
    return TransferConfig(**(msgspec.structs.asdict(config or TransferConfig()) | changes))  # made anew, so checked
