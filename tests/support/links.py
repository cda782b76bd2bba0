"""Tables of links to what a fault proxy serves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.proxy import FaultProxy
from tests.support.tables import table

#: A time at which no link is valid any more.
OVER = "2020-01-01T00:00:00Z"


def links(file: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Rows of links as a CSV file."""
    return table(file, rows)


def many(origin: FaultProxy, count: int, **more: str) -> list[dict[str, str]]:
    """Rows of links to the first objects of `origin`, whose keys are numbers; their signature is `secret`."""
    return [{"url": f"{origin.url}/{n}?X-Amz-Signature=secret", "path": f"d/{n}", **more} for n in range(count)]
