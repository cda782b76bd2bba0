"""Finds parts whose connection is far slower than the others. Arithmetic on positions; no clock, no I/O."""

from collections.abc import Iterable

from bulkpresign.transfer.downloads.ranges import RangePart

#: Seconds between two looks at the parts.
INTERVAL = 0.25
#: A part is slow after so many looks in a row at which it moved less than this share of what the others moved.
_LOOKS, _SLOW_SHARE = 4, 0.25
#: So many parts in flight tell what is usual.
_FEWEST = 3
#: Less is not worth another request.
_LEAST_LEFT = 1 << 20
#: The budget: slow parts of an object that are given to another connection, at least and as a share of its parts.
_LEAST_TAKEOVERS, _TAKEOVER_SHARE = 4, 0.1


class SlowParts:
    """Compares the parts of one object at each look. `budget` is how many more may be found slow."""

    def __init__(self, count: int) -> None:
        self.budget = max(_LEAST_TAKEOVERS, round(_TAKEOVER_SHARE * count))
        self._positions: dict[RangePart, int] = {}
        self._slow_looks: dict[RangePart, int] = {}
        self._usual = 0

    def look(self, parts: Iterable[RangePart]) -> list[RangePart]:
        """The parts that have become slow. `parts` are those with a request in flight.

        Where nothing moves nothing is slow: then the wire stalls, and another connection would as well.
        """
        moved = {part: part.at - self._positions.get(part, part.start) for part in parts}
        if len(moved) >= _FEWEST:
            self._learn(moved)
        self._slow_looks = {
            part: self._slow_looks.get(part, 0) + 1
            for part, count in moved.items()
            if part.left > _LEAST_LEFT and count < _SLOW_SHARE * self._usual
        }
        self._positions = {part: part.at for part in moved}
        slow = [part for part, looks in self._slow_looks.items() if looks >= _LOOKS][: self.budget]
        self.budget -= len(slow)
        for part in slow:
            del self._slow_looks[part]
        return slow

    def _learn(self, moved: dict[RangePart, int]) -> None:
        """Sets the usual number of bytes for one look: at least a quarter of the parts moves as many.

        Parts that may be slow tell nothing, nor do those that have just begun. So a few slow parts that outlast the
        others are still compared with them.
        """
        is_first = not self._usual
        counts = sorted(
            count
            for part, count in moved.items()
            if part not in self._slow_looks and (is_first or part in self._positions)
        )
        if counts:
            usual = counts[-1 - len(counts) // 4]
            self._usual = usual if len(counts) >= _FEWEST else max(usual, self._usual)
