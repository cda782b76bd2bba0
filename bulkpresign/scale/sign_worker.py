"""The worker's side of `sign`: rows of a table become rows of a manifest, as bytes.

Imports neither botocore nor the pipeline.
"""

import pickle
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec

from bulkpresign.errors import InputError, ManifestError, ParameterError
from bulkpresign.manifest.links import methods_of, old_links
from bulkpresign.manifest.uploads import whole_rows
from bulkpresign.manifest.writing import Layout, encoded_links
from bulkpresign.model import Link, ObjectRef
from bulkpresign.scale.sealing import sealed, unsealed, worker_name
from bulkpresign.signing.batch import region_of
from bulkpresign.signing.grant import Place, SigningGrant
from bulkpresign.signing.rules import LinkSettings, Rules, check_options
from bulkpresign.signing.values import REGION
from bulkpresign.tables import Rows, objects_of
from bulkpresign.tables.delimited import CsvBlock


class ShardRows(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A batch of rows. `cells` are pickled if they are not all text: JSON and Parquet have values of other types."""

    file: str
    columns: tuple[str, ...]
    cells: list[list[str]] | bytes
    lines: list[int]

    def rows(self) -> Iterator[Rows]:
        """The rows as they were read."""
        cells: Any = self.cells
        if isinstance(cells, bytes):
            cells = pickle.loads(cells)  # noqa: S301 - the coordinator made it
        yield Rows(self.file, self.columns, cells, self.lines)


def shard_rows(rows: Rows, *, are_text: bool) -> ShardRows:
    """A batch of rows for a worker."""
    cells: Any = rows.cells if are_text else pickle.dumps(rows.cells)
    return ShardRows(rows.file, rows.columns, cells, list(rows.lines))


class SigningTask(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Batches of rows to sign, each an encoded ShardRows or CsvBlock.

    `bucket` is that of rows without one. With `are_links`, the rows are signed again. `file`, `format` and `layout` are
    those of the manifest.
    """

    grant: SigningGrant
    settings: LinkSettings
    bucket: str | None
    are_links: bool
    file: str
    format: str
    layout: Layout
    batches: Sequence[msgspec.Raw]


class Signed(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The result of a SigningTask: encoded rows of `links` links, and the layout after them.

    Nothing is signed where the grant lacks the places `missing`, or where there is a `problem`: the first one in the
    rows. That has the arguments of a ManifestError, or a message alone.
    """

    encoded: memoryview = memoryview(b"")
    links: int = 0
    layout: Layout = Layout()
    missing: Sequence[Place] = ()
    problem: tuple[str, str | None, int | None, str | None] | None = None

    @property
    def error(self) -> InputError | None:
        """The problem as it was raised."""
        if self.problem is None:
            return None
        text, file, line, column = self.problem
        return ParameterError(text) if file is None else ManifestError(text, file=file, line=line, column=column)


_tasks = msgspec.msgpack.Decoder(SigningTask)
_results = msgspec.msgpack.Decoder(Signed)
_batches: msgspec.msgpack.Decoder[ShardRows | CsvBlock] = msgspec.msgpack.Decoder(ShardRows | CsvBlock)


def sign_shard(data: bytes) -> bytes:
    """Signs an encoded SigningTask; returns an encoded Signed. This is what executors are given."""
    try:
        task = unsealed(data, _tasks)
    except ParameterError as error:
        return msgspec.msgpack.encode(Signed(problem=(f"worker {worker_name()}: {error}", None, None, None)))
    try:
        signed = _signed(task)
    except ManifestError as error:
        signed = Signed(problem=(error.problem, error.file, error.line, error.column))
    except ParameterError as error:
        signed = Signed(problem=(str(error), None, None, None))
    return msgspec.msgpack.encode(signed)


def encode_task(task: SigningTask) -> bytes:
    """A task as bytes, for `sign_shard`."""
    return sealed(task)


def decode_signed(data: bytes) -> Signed:
    """The result of `sign_shard`."""
    return _results.decode(data)


def _signed(task: SigningTask) -> Signed:
    missing, counts = set[Place](), list[int]()
    encoded, layout = encoded_links(_links(task, missing, counts), task.file, task.format, task.layout)
    return (
        Signed(missing=list(missing))
        if missing
        else Signed(encoded=memoryview(encoded), links=sum(counts), layout=layout)
    )


def _links(task: SigningTask, missing: set[Place], counts: list[int]) -> Iterator[list[Link]]:
    """The links of each batch, and their number to `counts`. Places that the grant lacks go to `missing`.

    Once one is missing, nothing is signed: then an error waits, because an earlier row may have one.
    """
    settings, signer, places = task.settings, task.grant.signer, task.grant.places
    rules = Rules(settings.method, settings.headers, settings.query, settings.options, head=False)
    for rows in map(whole_rows, chain.from_iterable(_batches.decode(batch).rows() for batch in task.batches)):
        try:
            refs = _objects(task, rules, rows)
        except InputError:
            if missing:
                return
            raise
        missing |= _places(rows, refs) - places
        if not missing:
            links = rules.signed(signer, _old_links(rules, rows, refs) if task.are_links else refs)
            counts.append(len(links))
            yield links


def _objects(task: SigningTask, rules: Rules, rows: Rows) -> list[ObjectRef]:
    """The objects of some rows. Raises InputError for a row that is not valid."""
    rules.check_cells(rows)
    refs = objects_of(rows, task.bucket)
    check_options(rows, task.settings.method or (methods_of(rows) if task.are_links else "GET"))
    return refs


def _places(rows: Rows, refs: Sequence[ObjectRef]) -> set[Place]:
    if REGION in rows.columns:
        return {(ref.bucket, region_of(ref)) for ref in refs}
    return {(bucket, None) for bucket in {ref.bucket for ref in refs}}


def _old_links(rules: Rules, rows: Rows, refs: Sequence[ObjectRef]) -> list[Link]:
    links = old_links(rows, refs)
    rules.check_rows(rows, links)
    return links
