"""Links that are sources themselves, such as a link that was pasted into a command."""

from collections.abc import Sequence

from bulkpresign.errors import ParameterError
from bulkpresign.model import without_query
from bulkpresign.tables import Rows, Table

#: The host of the pages in which people look at buckets.
_CONSOLE = "console.aws.amazon.com"
_SCHEMES = ("http://", "https://")


class GivenLinks(Table):
    """Links for downloads, as a table with the single column `url`. Line 2 is the second link."""

    def __init__(self, urls: Sequence[str]) -> None:
        for url in urls:
            _refuse_folder(without_query(url))
        super().__init__("given links")
        rows = Rows(self.file, ("url",), [[url] for url in urls], range(1, len(urls) + 1))
        self._read = lambda _: iter([rows])


def _refuse_folder(url: str) -> None:
    """Raises ParameterError for a link to no object, such as the page of a bucket."""
    _, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    if not path or path.endswith("/") or host.endswith(_CONSOLE):
        raise ParameterError(f"{url[:200]} is no link to an object; objects of a bucket are s3://bucket/prefix/")


def is_link(source: str) -> bool:
    """True if the source is a link, and not a file or an S3 location."""
    return source[:8].lower().startswith(_SCHEMES)


def no_link(url: str, instead: str) -> ParameterError:
    """The error for a link where none is accepted. It shows the link without its query."""
    return ParameterError(f"{without_query(url)[:200]} is a link: {instead}")
