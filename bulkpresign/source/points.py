"""Points at which a listing can be split: guessed from its keys, and only where the server is shown to allow it."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from bulkpresign.source.key_space import DELIMITER, points_after
from bulkpresign.source.page import KEY_MARKER, Page, end_of

#: The most requests that are sent for one split, to show that it is allowed.
_MOST_PROBES = 4
#: The name of the probe that shows whether the server knows positions. All others have the name of a folder.
_SUPPORT = ""


class Probe(NamedTuple):
    """A request for one key, which shows whether points are safe. None is to come, or one after `point`."""

    name: str
    query: Mapping[str, str]
    point: str


class Points:
    """The points of one listing, whose positions have the name `after`: START_AFTER or KEY_MARKER.

    They are safe if pages are sorted, if the server knows such positions, and if no folder makes a difference: S3 lists
    `a-b` before `a/c`, and a server that walks folders lists `a/c` before `a-b`, as the folder `a` comes first. Unless
    there is such a folder, both have the same keys before and after a point. A folder whose neighbours were listed
    already makes no difference any more.

    Points of versions are texts that no key has: of a key, all versions are on one side. Some servers (Ceph) begin with
    the versions of the key that is given, and not after them.
    """

    def __init__(self, after: str) -> None:
        self._after, self._has_versions = after, after == KEY_MARKER
        self._is_refused = False
        self._asked, self._shown = set[str](), set[str]()

    def after(self, keys: Sequence[str], prefix: str, stop: str | None, count: int) -> list[str]:
        """Up to `count` points after the keys of a page, and before `stop`."""
        self._is_refused = self._is_refused or list(keys) != sorted(keys if self._has_versions else set(keys))
        points = [] if self._is_refused else points_after(keys, prefix, count)
        if self._has_versions:
            points = [end_of(point) for point in points]
        return points if stop is None else [point for point in points if point < stop]

    def probes(self, points: Sequence[str], last: str, prefix: str) -> list[Probe]:
        """The requests that are missing to show that points after a `last` key are safe, the nearest ones first."""
        names = dict.fromkeys(name for point in points for name in _conditions(point, last, prefix))
        new = [name for name in names if name not in self._asked][:_MOST_PROBES]
        self._asked.update(new)
        return [self._probe(name, prefix, points[0]) for name in new]

    def learn(self, probe: Probe, page: Page) -> None:
        """Takes note of the response to a probe."""
        if probe.name == _SUPPORT and any(key <= probe.point for key in page.entries):
            self._is_refused = True
        elif probe.name == _SUPPORT or not page.entries:
            self._shown.add(probe.name)

    def safe(self, points: Sequence[str], last: str, prefix: str) -> list[str]:
        """The first points after a `last` key, as far as they are shown to be safe."""
        return list(takewhile(lambda point: self._shown.issuperset(_conditions(point, last, prefix)), points))

    def _probe(self, name: str, prefix: str, point: str) -> Probe:
        query = {"prefix": prefix, self._after: point} if name == _SUPPORT else {"prefix": name}
        return Probe(name, {**query, "max-keys": "1"}, point)


def _conditions(point: str, last: str, prefix: str) -> list[str]:
    """The names of the probes that show that a point is safe: that of support, and the folders that are not to be."""
    ends = [at for at in range(len(prefix), len(point)) if point[at] < DELIMITER]
    return [_SUPPORT, *(point[:at] + DELIMITER for at in ends if not last.startswith(point[: at + 1]))]
