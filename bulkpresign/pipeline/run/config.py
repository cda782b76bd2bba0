"""The settings of a transfer: requests in flight, sizes of parts, attempts, bytes a second, the transport."""

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.http.client import Transport, check_transport
from bulkpresign.transfer.downloads.download import PART_SIZE

PART_CONCURRENCY = 8


class TransferConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a transfer. Raises ParameterError for a number under 1, and for an unknown transport.

    `concurrency`: objects in flight, 64 by default.
    `part_size`: bytes of one part, 64 MiB by default. A larger object moves in parts of this size.
    `part_concurrency`: parts in flight of one object, 8 by default.
    `attempts`: attempts per request, for errors that a retry can fix, 5 by default.
    `limit_rate`: bytes a second of the whole run; None (the default) is no limit.
    `limit`: objects of the whole run, without those that are done already; None (the default) is no limit.
    `transport`: which HTTP client sends. `auto` (the default) is `lean`, our own, and `aiohttp` where the environment
    names a proxy. `lean` is an error there. `aiohttp` sends everything, for servers that `lean` does not get on with.

    Memory is at most `concurrency x part_concurrency x 512 KiB`: the buffers of each request in flight.
    """

    concurrency: int = 64
    part_size: int = PART_SIZE
    part_concurrency: int = PART_CONCURRENCY
    attempts: int = 5
    limit_rate: int | None = None
    limit: int | None = None
    transport: Transport = "auto"

    @property
    def requests(self) -> int:
        """The requests that may be in flight."""
        return self.concurrency * self.part_concurrency

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise ParameterError(f"{name} of {value} is not at least 1")
        check_transport(self.transport)


def config_of(config: TransferConfig | None, **given: int | str | None) -> TransferConfig:
    """The settings of a call: those of `config`, but for the keywords that are given beside it (not None)."""
    changes = {name: value for name, value in given.items() if value is not None}
    return TransferConfig(**(msgspec.structs.asdict(config or TransferConfig()) | changes))  # made anew, so checked
