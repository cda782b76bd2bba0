"""Objects of a listing whose paths are one file, because the folder ignores case."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import ObjectRef
from bulkpresign.pipeline.run.preflight import NO_CASE, REMEDY
from bulkpresign.pipeline.sources.links import Remote


class SameFiles:
    """Refuses such objects. There may be a few among millions of keys, and the others are downloaded."""

    def __init__(self, index: PathIndex) -> None:
        self._index = index
        self._problems: dict[str, str] = {}

    def note(self, refs: Sequence[ObjectRef]) -> None:
        """Adds the paths of objects to the index."""
        rows = [(ref.file_path, ref.uri) for ref in refs]
        while clash := self._index.add(rows):
            path, first, second = clash
            self._problems[path] = f"its path is the file of {first} as well: {NO_CASE}; {REMEDY}"
            rows = rows[rows.index((path, second)) + 1 :]

    async def without(
        self, links: AsyncIterator[list[Remote]], refuse: Callable[[ObjectRef, str], Awaitable[None]]
    ) -> AsyncIterator[list[Remote]]:
        """The links of all other objects."""
        async for batch in links:
            left = list[Remote]()
            for link in batch:
                if problem := self._problems.pop(link.object.file_path, None):
                    await refuse(link.object, problem)
                else:
                    left.append(link)
            yield left
