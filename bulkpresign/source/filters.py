"""Filters: which objects of a source are used, by name, size, time, number or chance."""

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from bulkpresign.errors import InputError, ParameterError
from bulkpresign.model import ObjectRef
from bulkpresign.source.pattern import Pattern
from bulkpresign.tables.columns import LAST_MODIFIED

T = TypeVar("T")
#: Makes the error for a row: by its index, the problem and the column.
RowError = Callable[[int, str, str], InputError]

_ALL = frozenset({"*", "**", "**/*"})
_BOUNDS = ("min_size", "max_size", "limit", "sample")


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of a source that are used: those that pass all filters.

    An object passes if it matches one of the globs `include` (empty: any object) and none of `exclude`. In a glob, `*`
    and `?` match no `/`, and `**` matches any characters, as in `s3://` sources. A glob with a `/` is compared with the
    whole path of the object: its key, after the prefix for `s3://` sources. A glob without one is compared with the
    name after the last `/`.

    `min_size` and `max_size` are bytes, both inclusive. Objects pass that were modified at `newer_than` or later, and
    before `older_than`, both aware times. `limit` is the number of objects to use, from the first one on. `sample` is
    the number of objects to use, at random: each object has the same chance, and the same source and `seed` give the
    same objects, in the order of the source. A sample is held in memory.

    Raises ParameterError for a value that is not valid, and for bounds that no object can have; TypeError for a time of
    another type.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    min_size: int | None = None
    max_size: int | None = None
    newer_than: datetime | None = None
    older_than: datetime | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _BOUNDS:
            value, least = getattr(self, name), int(name in {"limit", "sample"})
            if value is not None and value < least:
                raise ParameterError(f"{name} of {value} is not at least {least}")
        for name in ("include", "exclude"):
            if isinstance(globs := getattr(self, name), str) or not all(globs):
                raise ParameterError(f"{name} is not a list of globs that are not empty")
        for glob in _ALL.intersection(self.exclude):  # aws needs it before include
            raise ParameterError(f"exclude {glob!r} leaves out every object; leave it out: include alone selects")
        for name in ("newer_than", "older_than"):
            moment = getattr(self, name)
            if not isinstance(moment, datetime | None):
                raise TypeError(f"{name} is a datetime with a time zone, not {type(moment).__name__}")
            if moment is not None and moment.tzinfo is None:
                raise ParameterError(f"{name} of {moment.isoformat()} has no time zone")
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise ParameterError(f"no object has at least {self.min_size:,} and at most {self.max_size:,} bytes")
        if self.newer_than is not None and self.older_than is not None and self.newer_than >= self.older_than:
            raise ParameterError("no object is newer than newer_than and older than older_than: the first is the later")
        if self.limit is not None and self.sample is not None:
            raise ParameterError("limit and sample don't go together: both are a number of objects")


class Candidates(msgspec.Struct, frozen=True):
    """Some objects of a source, by columns. `sizes` and `times` are called only if a filter needs them.

    `error` makes the error for an object without a value that a filter needs. None: such an object passes.
    """

    names: Sequence[str]
    sizes: Callable[[], Sequence[int | None]]
    times: Callable[[], Sequence[Any]]
    error: RowError | None


class Selector:
    """Selects objects by the globs, sizes and times of filters."""

    def __init__(self, filters: Filters) -> None:
        """Raises ParameterError for a glob that is not valid, and TypeError for another type."""
        if not isinstance(filters, Filters):
            raise TypeError(f"filters is a Filters, not {type(filters).__name__}")
        self.filters = filters
        self._include = _matcher(filters.include)
        self._exclude = _matcher(filters.exclude)
        self._has_sizes = (filters.min_size, filters.max_size) != (None, None)
        #: True if objects need a time.
        self.has_times = (filters.newer_than, filters.older_than) != (None, None)

    def kept(self, objects: Candidates) -> Sequence[int]:
        """The indexes of the objects that pass. Raises InputError for one without a value that a filter needs."""
        names = objects.names
        found: Sequence[int] = range(len(names))
        if self.filters.include:
            found = [index for index in found if self._include(names[index])]
        if self.filters.exclude:
            found = [index for index in found if not self._exclude(names[index])]
        if self._has_sizes and found:
            sizes = objects.sizes()
            found = [index for index in found if self._has_size(objects, index, sizes[index])]
        if self.has_times and found:
            times = objects.times()
            found = [index for index in found if self._has_time(objects, index, times[index])]
        return found

    def excludes(self, path: str) -> bool:
        """True for a path that one of the globs to exclude matches."""
        return self._exclude(path)

    def _has_size(self, objects: Candidates, index: int, size: int | None) -> bool:
        if size is None:
            return _passes_without(objects, index, "a filter by size needs the size, and there is none", "size")
        least, most = self.filters.min_size, self.filters.max_size
        return (least is None or size >= least) and (most is None or size <= most)

    def _has_time(self, objects: Candidates, index: int, time: Any) -> bool:
        moment = moment_of(time)
        if moment is None:
            problem = "a filter by time needs a time with a time zone, and there is none"
            return _passes_without(objects, index, problem, LAST_MODIFIED)
        begin, end = self.filters.newer_than, self.filters.older_than
        return (begin is None or moment >= begin) and (end is None or moment < end)


class Sample(Generic[T]):
    """A uniform sample of `count` items, drawn as they come (algorithm R). Holds `count` items."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._random = count, random.Random(seed)
        self._seen = 0
        self._drawn: list[tuple[int, T]] = []

    def add(self, items: Iterable[T]) -> None:
        """Takes the next items."""
        for item in items:
            if self._seen < self._count:
                self._drawn.append((self._seen, item))
            elif (place := self._random.randrange(self._seen + 1)) < self._count:
                self._drawn[place] = (self._seen, item)
            self._seen += 1

    def drawn(self) -> list[T]:
        """The items of the sample, in the order in which they came."""
        return [item for _, item in sorted(self._drawn, key=lambda entry: entry[0])]


def candidates_of(refs: Sequence[ObjectRef], names: Sequence[str], error: RowError | None) -> Candidates:
    """Objects as candidates. `names` are compared with globs. For `error`, see Candidates."""
    return Candidates(
        names,
        lambda: [ref.size for ref in refs],
        lambda: [(ref.extra or {}).get(LAST_MODIFIED) for ref in refs],
        error,
    )


def moment_of(time: Any) -> datetime | None:
    """A text as an aware time, None if it is not one."""
    try:
        moment = datetime.fromisoformat(time)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def _passes_without(objects: Candidates, index: int, problem: str, column: str) -> bool:
    if objects.error is None:
        return True
    raise objects.error(index, problem, column)


def _matcher(globs: Sequence[str]) -> Callable[[str], bool]:
    """Returns a function: True for a path that one of the globs matches."""
    of_paths = [Pattern(glob).matches for glob in globs if "/" in glob]
    of_names = [Pattern(glob).matches for glob in globs if "/" not in glob]

    def matches(path: str) -> bool:
        name = path[path.rfind("/") + 1 :]
        return any(match(name) for match in of_names) or any(match(path) for match in of_paths)

    return matches
