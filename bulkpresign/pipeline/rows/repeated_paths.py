"""Rows of a manifest with one path, as the objects of two prefixes may have: `get` refuses such a manifest."""

from collections.abc import Callable, Sequence

from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import Link

#: Takes the uris of two objects with one path, in the order of their rows.
OnRepeated = Callable[[str, str], None]


class RepeatedPaths:
    """Finds the GET links whose path an earlier one has, in constant memory. `on_repeated` is called for each."""

    def __init__(self, index: PathIndex, on_repeated: OnRepeated) -> None:
        self._index, self._tell = index, on_repeated

    def add(self, links: Sequence[Link]) -> None:
        """Adds links. Raises OutputError if the temporary file of the index can't be written."""
        refs = [link.object for link in links if link.method == "GET" and not link.object.is_folder_marker]
        rows = [(ref.file_path, ref.uri) for ref in refs]
        while clash := self._index.add(rows):
            path, first, second = clash
            self._tell(first, second)
            rows = rows[rows.index((path, second)) + 1 :]
