"""The objects that a run did not do, as a manifest that continues the work."""

import os
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from bulkpresign.errors import BreakerError, InputError, OutputError
from bulkpresign.events import Event, outcomes_in
from bulkpresign.manifest.copies import copy_rows
from bulkpresign.manifest.writing import ManifestWriter, link_writer, object_writer
from bulkpresign.model import INTERRUPTED, Link, ObjectRef, Outcome, Upload
from bulkpresign.pipeline.sources.sources import Sources
from bulkpresign.tables import Rows, open_output
from bulkpresign.tables.reading import output_format
from bulkpresign.transfer.engine.jobs import Job

_FAILURES_BATCH = 256
_REASON = "reason"


class FailureLog:
    """A listener that writes what is not done to a manifest, which is valid input again.

    Objects whose links we signed are written as objects, other ones with their links; each with its `reason`.
    """

    def __init__(self, writer: ManifestWriter[Any], *, as_links: bool, carried: Collection[str] | None) -> None:
        """`carried`: the columns that the file can take besides our own, None for any."""
        self._writer = writer
        self._as_links = as_links
        self._carried = carried
        self._rows: list[Link | ObjectRef] = []
        self.is_empty = True

    def __call__(self, event: Event) -> None:
        """Keeps outcomes that are not done."""
        for outcome in outcomes_in(event):
            if outcome.status in {"failed", "expired"}:
                self.add(outcome.link, outcome.object, f"{outcome.code}: {outcome.message}", outcome.upload)

    def add(self, link: Link | None, ref: ObjectRef, reason: str, upload: Upload | None = None) -> None:
        """Adds one row, or all those of an upload. `link` is the GET link of an object that is copied."""
        if upload is not None and self._as_links:
            rows = copy_rows(link, upload.links) if link is not None and link.method == "GET" else upload.links
            self._rows += [msgspec.structs.replace(row, object=self._with(row.object, reason)) for row in rows]
        elif link is not None and self._as_links:
            self._rows.append(msgspec.structs.replace(link, object=self._with(ref, reason)))
        else:
            self._rows.append(self._with(ref, reason))
        self.is_empty = False
        if len(self._rows) >= _FAILURES_BATCH:
            self.flush()

    def add_unrecorded(self, outcomes: Sequence[Outcome]) -> None:
        """Adds outcomes that the journal did not store: the next run processes them again."""
        for outcome in outcomes:
            self.add(outcome.link, outcome.object, "Unrecorded: the journal could not be written", outcome.upload)

    async def add_left(self, batches: AsyncIterator[Sequence[Job]]) -> None:
        """Adds the jobs that were not started."""
        async for jobs in batches:
            for job in jobs:
                self.add(job.link, job.link.object, f"{INTERRUPTED}: the run ended before its turn", job.upload)

    def _with(self, ref: ObjectRef, reason: str) -> ObjectRef:
        extra = {name: value for name, value in (ref.extra or {}).items() if self._takes(name)}
        return msgspec.structs.replace(ref, extra={**extra, _REASON: reason})

    def _takes(self, column: str) -> bool:
        return self._carried is None or column in self._carried

    def flush(self) -> None:
        """Writes what was kept."""
        rows, self._rows = self._rows, []
        if rows:
            self._writer.write(rows)


def without_reasons(batches: Iterator[Rows]) -> Iterator[Rows]:
    """The same rows of a table; those of links without the reasons of a failures file, which are of the old links."""
    for rows in batches:
        yield rows.without(_REASON) if {"url", _REASON}.issubset(rows.columns) else rows


@asynccontextmanager
async def failure_log(file: str | os.PathLike[str] | None, sources: Sources | None) -> AsyncIterator[FailureLog | None]:
    """A failures file that is written however the run ends; None where none is wanted.

    If the input was not valid, there was no run, and a file of this name is left as it is. Raises OutputError; a
    BreakerError that ended the run names the file as well.
    """
    if file is None:
        yield None
        return
    name = os.fspath(file)
    kind = output_format(name)
    as_links = sources is not None and sources.has_links
    columns = sources.columns if sources else []
    ended: BaseException | None = None
    try:
        with open_output(name) as stream:
            make = link_writer if as_links else object_writer
            writer = make(stream, name, kind, list(dict.fromkeys([*columns, _REASON])))
            log = FailureLog(writer, as_links=as_links, carried=columns if kind in {"csv", "parquet"} else None)
            try:
                yield log
            except BaseException as error:
                if isinstance(error, InputError) and log.is_empty:
                    raise
                ended = error  # raised again once the file is written
            log.flush()
            writer.finish()
    except OutputError as error:
        if not isinstance(ended, BreakerError):
            raise
        raise BreakerError(str(ended) if str(error) in str(ended) else f"{ended}; {error}") from error
    if ended is not None:
        raise ended
