"""The settings with which one run of `sign` signs its links, and the checks that they fit the rows."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, repeat
from typing import Any

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.model import Link, Method, ObjectRef
from bulkpresign.signing.batch_signer import BatchSigner
from bulkpresign.signing.headers import check_headers
from bulkpresign.signing.options import METHODS, OPTION_COLUMNS, LinkOptions
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.values import REGION, option_problem
from bulkpresign.tables import Rows

#: The columns that set an option of a single link, for any method.
_ANY_OPTION = tuple(dict.fromkeys(name for names in OPTION_COLUMNS.values() for name in names))


class LinkSettings(msgspec.Struct, frozen=True):
    """The settings of all links of a run, as data. `method` None: each row has its own."""

    method: Method | None
    headers: Mapping[str, str] | None
    query: Mapping[str, str] | None
    options: LinkOptions


class Rules:
    """The settings of a run's links, and the checks that they fit the rows. `method` None: each row has its own."""

    def __init__(
        self,
        method: Method | None,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        options: LinkOptions,
        *,
        head: bool,
    ) -> None:
        self.method = method
        #: The settings as data.
        self.settings = LinkSettings(method, headers, query, options)
        self._shared: dict[str, Any] = {"headers": headers, "query": query, "options": options}
        self.head = head
        self._problems: dict[str, str | None] = {}
        if method is not None:
            self.check(method)

    def check_given(self, concurrency: int | None, failures: str | os.PathLike[str] | None) -> None:
        """Raises ParameterError for a setting that is only valid with `head`, and for a concurrency below 1."""
        if concurrency is not None and concurrency < 1:
            raise ParameterError(f"concurrency of {concurrency} is not at least 1")
        for name, value in (("concurrency", concurrency), ("failures", failures)):
            if value is not None and not self.head:
                raise ParameterError(f"{name} is for a run that asks for every object: add --head (head=True)")

    def check(self, method: str) -> None:
        """Raises ParameterError if links of this method can't be signed with these settings."""
        if problem := self.problem(method):
            raise ParameterError(problem)

    def check_rows(self, rows: Rows, links: Sequence[Link]) -> None:
        """Raises ManifestError for the first row whose own method does not fit these settings."""
        for method in {link.method for link in links} if self.method is None else ():
            if problem := self.problem(method):
                row = next(row for row, link in enumerate(links) if link.method == method)
                raise rows.error(row, problem, "method")

    def checked(self, batches: Iterator[Rows]) -> Iterator[Rows]:
        """The same rows of a table. Raises ManifestError as `check_cells` does."""
        for rows in batches:
            self.check_cells(rows)
            yield rows

    def check_cells(self, rows: Rows) -> None:
        """Raises ManifestError for a cell that would be ignored: `expires_in`, and another method in a list of keys."""
        check_run_options(rows, ("expires_in",), "sign")
        signed = self.method or "GET"
        for row, cell in enumerate(() if "url" in rows.columns else rows.column("method") or ()):
            if cell != "" and str(cell).upper() != signed:
                problem = f"{signed} links are signed, and this key's is {str(cell)[:80]!r}"
                raise rows.error(row, f"{problem}: name the method with --method, or split the list by it", "method")

    def problem(self, method: str) -> str | None:
        """The error for links of this method with these settings, or None."""
        if method not in self._problems:
            self._problems[method] = self._problem(method, **self._shared)
        return self._problems[method]

    def _problem(
        self,
        method: str,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        options: LinkOptions,
    ) -> str | None:
        if method not in METHODS:
            return f"method {method!r} is not one of {', '.join(METHODS)}"
        if method == "PUT" and self.head:
            return "--head asks for objects that are there: it does not go with PUT links"
        try:
            check_headers(headers)
            options.check(method)
        except ParameterError as error:
            return str(error)
        if query and method not in {"GET", "HEAD"}:
            return f"{next(iter(query))} is for GET links"
        if headers and method == "GET":
            return "headers are signed into PUT links; a GET link that signs them opens in no browser"
        return None

    def signed(self, presigner: Presigner | BatchSigner, items: Sequence[Link | ObjectRef]) -> list[Link]:
        """Signs some objects, or some old links again. Returns the links in order."""
        if not items:
            return []
        refs = [item for item in items if isinstance(item, ObjectRef)]
        if len(refs) == len(items):
            return presigner.sign_batch(refs, self.method or "GET", **self._shared)
        links = [item for item in items if isinstance(item, Link)]
        if len(links) == len(items):
            return presigner.sign_again(links, self.method, **self._shared)
        some = groupby(items, lambda item: isinstance(item, Link))
        return [link for _, alike in some for link in self.signed(presigner, list(alike))]


def check_run_options(rows: Rows, names: Sequence[str], verb: str) -> None:
    """Raises ManifestError for a cell with a value in the column of an option that all rows of a run have in common."""
    for name in names:
        for row, cell in enumerate(rows.column(name) or ()):
            if cell != "":
                problem = f"{verb} has one for all rows of a run: --{name.replace('_', '-')}; leave the column out"
                raise rows.error(row, problem, name)


def check_options(rows: Rows, methods: Sequence[str] | str) -> None:
    """Raises ManifestError for an invalid cell in a column that sets an option of a single link.

    `methods` is that of all links, or of each. Cells that do not apply to the method are not checked.
    """
    each = repeat(methods) if isinstance(methods, str) else methods
    for name in (REGION, *_ANY_OPTION):
        for row, (cell, method) in enumerate(zip(rows.column(name) or (), each, strict=False)):
            if cell == "" or (name != REGION and name not in OPTION_COLUMNS.get(method, ())):
                continue
            if problem := option_problem(name, cell):
                raise rows.error(row, problem, name)
