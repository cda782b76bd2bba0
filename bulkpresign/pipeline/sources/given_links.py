"""Links that are given as they are, such as one that was pasted into a command."""

from collections.abc import Sequence

from bulkpresign.errors import ParameterError
from bulkpresign.model import without_query
from bulkpresign.tables import Rows, Table

_SCHEMES = ("http://", "https://")


class GivenLinks(Table):
    """Links to download through, as a table that has a column `url` and nothing else; line 2 is the second link."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__("given links")
        rows = Rows(self.file, ("url",), [[url] for url in urls], range(1, len(urls) + 1))
        self._read = lambda _: iter([rows])


def is_link(source: str) -> bool:
    """True for a source that is a link, and names no file and no place in a bucket."""
    return source[:8].lower().startswith(_SCHEMES)


def no_link(url: str, instead: str) -> ParameterError:
    """The error where a link is of no use; it shows no query."""
    return ParameterError(f"{without_query(url)[:200]} is a link: {instead}")
