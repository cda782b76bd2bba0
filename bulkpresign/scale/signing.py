"""The coordinator's side of `sign`: rows go to workers in shards, and come back signed, in order.

Workers have signing keys of the day, and not the secret key: see `signing.grant`.
"""

from collections.abc import AsyncIterator, Callable

import msgspec

from bulkpresign.manifest.writing import Layout, ManifestWriter
from bulkpresign.model import Link
from bulkpresign.scale.calls import Calls
from bulkpresign.scale.sign_worker import Signed, SigningTask, decode_signed, encode_task, shard_rows, sign_shard
from bulkpresign.scale.workers import Workers
from bulkpresign.signing.grant import Place
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.rules import Rules
from bulkpresign.tables import Rows, Table
from bulkpresign.tables.delimited import CsvBlock
from bulkpresign.tasks import in_order

#: A shard ends with this number of rows, or of bytes: a worker signs it in about 60 ms.
_SHARD_ROWS, _SHARD_BYTES = 16384, 4 << 20
#: Formats whose cells are all text.
_TEXT_FORMATS = frozenset({"csv", "txt", "batch"})


class Shard(msgspec.Struct):
    """Batches of rows that go to one worker, each encoded."""

    are_links: bool
    batches: list[msgspec.Raw]
    rows: int = 0
    length: int = 0

    def add(self, batch: bytes, count: int) -> None:
        """Adds a batch of so many rows."""
        self.batches.append(msgspec.Raw(batch))
        self.rows += count
        self.length += len(batch)

    @property
    def is_full(self) -> bool:
        """True once it has enough."""
        return self.rows >= _SHARD_ROWS or self.length >= _SHARD_BYTES


class ShardedSigning:
    """Signs the rows of tables in workers, and writes them in their order.

    `bucket` is that of rows without one. `count` is told each number of links that was written.
    """

    def __init__(
        self,
        workers: Workers,
        presigner: Presigner,
        rules: Rules,
        writer: ManifestWriter[Link],
        *,
        bucket: str | None,
        count: Callable[[int], object],
    ) -> None:
        self._calls = Calls(workers)
        self._presigner, self._rules, self._writer = presigner, rules, writer
        self._bucket, self._count = bucket, count
        self._places = set[Place]()
        self._has_begun = False

    async def write(self, table: Table, rows: AsyncIterator[Rows | CsvBlock]) -> None:
        """Signs and writes the rows of a table. Raises InputError for the first one that can't be signed."""
        await in_order(_shards(table, rows), self._begin, self._take, self._calls.most)

    async def _begin(self, shard: Shard) -> tuple[Shard, Layout, Signed]:
        """Signs a shard for the layout that the manifest probably has when it is the shard's turn."""
        layout = msgspec.structs.replace(self._writer.layout, has_header=self._has_begun)
        self._has_begun = True
        return shard, layout, await self._signed(shard, layout)

    async def _take(self, begun: tuple[Shard, Layout, Signed]) -> None:
        """Writes a shard. It is signed again if a row before it had a new column."""
        shard, layout, signed = begun
        if layout != self._writer.layout:
            signed = await self._signed(shard, self._writer.layout)
        if signed.error is not None:
            raise signed.error
        if signed.links:
            self._writer.add(signed.encoded, signed.layout)
        self._count(signed.links)

    async def _signed(self, shard: Shard, layout: Layout) -> Signed:
        while True:
            await self._presigner.refresh()
            task = SigningTask(
                grant=self._presigner.grant(self._places),
                settings=self._rules.settings,
                bucket=self._bucket,
                are_links=shard.are_links,
                file=self._writer.file,
                format=self._writer.format,
                layout=layout,
                batches=shard.batches,
            )
            signed = decode_signed(await self._calls(sign_shard, encode_task(task)))
            if not signed.missing:
                return signed
            await self._presigner.refresh(bucket for bucket, region in signed.missing if region is None)
            self._presigner.grant(signed.missing)  # raises for a place in which nothing can be signed
            self._places.update(signed.missing)


async def _shards(table: Table, batches: AsyncIterator[Rows | CsvBlock]) -> AsyncIterator[Shard]:
    are_text = table.format in _TEXT_FORMATS
    shard = Shard(table.is_links, [])
    async for rows in batches:
        if isinstance(rows, CsvBlock):
            shard.add(msgspec.msgpack.encode(rows), rows.lines)
        elif rows.cells:
            shard.add(msgspec.msgpack.encode(shard_rows(rows, are_text=are_text)), len(rows.cells))
        if shard.is_full:
            yield shard
            shard = Shard(table.is_links, [])
    if shard.batches:
        yield shard
