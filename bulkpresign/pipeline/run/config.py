"""The settings of a transfer: requests in flight, sizes of parts, attempts, bytes a second, the transport."""

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.http.client import Transport, check_transport


class TransferConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a transfer. Raises ParameterError for a number under 1, another type, or an unknown transport.

    `concurrency`: objects in flight; None (the default): as many as the run finds to be fastest.
    `max_concurrency`: requests in flight at most where the run finds their number, 1,024 by default.
    `part_size`: bytes of one part; a larger object moves in parts of this size. None (the default): 8 to 64 MiB by the
    object's size, for downloads over 16 MiB and uploads over 64 MiB.
    `part_concurrency`: parts in flight of each large object; None (the default): as many as the run finds.
    `attempts`: attempts per request, for errors that a retry can fix, 5 by default.
    `limit_rate`: bytes a second of the whole run; None (the default) is no limit.
    `limit`: objects of the whole run, without those that are done already; None (the default) is no limit.
    `transport`: which HTTP client sends. `auto` (the default) is `lean`, our own, and `aiohttp` where the environment
    names a proxy. `lean` is an error there. `aiohttp` sends everything, for servers that `lean` does not get on with.

    Memory is at most 512 KiB for each request in flight: of `concurrency x part_concurrency`, or of `max_concurrency`.
    """

    concurrency: int | None = None
    max_concurrency: int = 1024
    part_size: int | None = None
    part_concurrency: int | None = None
    attempts: int = 5
    limit_rate: int | None = None
    limit: int | None = None
    transport: Transport = "auto"

    @property
    def requests(self) -> int:
        """The requests that may be in flight."""
        if self.concurrency is not None and self.part_concurrency is not None:
            return self.concurrency * self.part_concurrency
        return max(self.max_concurrency, self.concurrency or 0, self.part_concurrency or 0)

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            check_number(name, getattr(self, name), is_needed=name in _NEEDED)
        check_transport(self.transport)


#: The settings that are numbers, and those of them that have a default.
_NUMBERS = [name for name in TransferConfig.__struct_fields__ if name != "transport"]
_NEEDED = {"max_concurrency", "attempts"}


def check_number(name: str, value: int | None, *, is_needed: bool = False) -> None:
    """Raises ParameterError for anything but a whole number of at least 1. None is one unless it `is_needed`."""
    if value is None and not is_needed:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise ParameterError(f"{name} is a whole number, not {value!r}")
    if value < 1:
        raise ParameterError(f"{name} of {value} is not at least 1")


def config_of(config: TransferConfig | None, **given: int | str | None) -> TransferConfig:
    """The settings of a call: those of `config`, but for the keywords that are given beside it (not None)."""
    if not isinstance(config, TransferConfig | None):
        raise TypeError(f"config is a TransferConfig, not {type(config).__name__}")
    changes = {name: value for name, value in given.items() if value is not None}
    return TransferConfig(**(msgspec.structs.asdict(config or TransferConfig()) | changes))  # made anew, so checked
