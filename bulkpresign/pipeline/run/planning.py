"""The plan of a copy: what it would request and move, counted object by object in constant memory."""

import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from bulkpresign.checksums import expected_digest, part_size_of_row
from bulkpresign.manifest.writing import object_writer
from bulkpresign.model import REQUEST_KINDS, ObjectRef, Plan, SizeClass
from bulkpresign.pipeline.rows.head_response import asked_parts
from bulkpresign.tables import open_output
from bulkpresign.tables.reading import output_format
from bulkpresign.transfer.copies.head import ObjectHead, is_copied_in_parts

_LARGEST = 5
#: The upper bounds of the classes of sizes, in bytes; the last class has none.
_BOUNDS = (4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20, 4 << 30)


class Planner:
    """Counts objects that would be copied. `part_size` is the one that is given, None for none.

    `write` is called with each object. `listings` gives the number of requests that listings have taken.
    """

    def __init__(
        self,
        part_size: int | None,
        write: Callable[[ObjectRef], None],
        listings: Callable[[], int],
        *,
        on_server: bool,
        asks_part_size: bool,
    ) -> None:
        self._part_size, self._write, self._listings = part_size, write, listings
        self._on_server, self._asks_part_size = on_server, asks_part_size
        self._requests: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._largest: list[tuple[int, str]] = []
        self._sizes = [[0, 0] for _ in range(len(_BOUNDS) + 1)]
        self._in_parts = self._unsized = self._bytes_out = self._refused = 0

    def add(self, ref: ObjectRef) -> None:
        """Adds an object that would be copied."""
        size = ref.size or 0
        self._write(ref)
        self._unsized += ref.size is None
        if ref.size is not None:
            counts = self._sizes[next((n for n, bound in enumerate(_BOUNDS) if size <= bound), len(_BOUNDS))]
            counts[0] += 1
            counts[1] += size
            (heapq.heappush if len(self._largest) < _LARGEST else heapq.heappushpop)(self._largest, (size, ref.uri))
        self._bytes_out += 0 if self._on_server else size
        parts = self._parts(ref)
        self._in_parts += parts > 0
        self._requests.update(self._requests_of(ref, parts))

    def skip(self, reason: str, count: int = 1) -> None:
        """Adds objects that would not be copied."""
        if count:
            self._skipped[reason] += count

    def refuse(self, reason: str) -> None:
        """Adds an object whose copy would fail."""
        self.skip(reason)
        self._refused += 1

    @property
    def skipped(self) -> int:
        """The number of objects that would be skipped, without those that would fail."""
        return self._skipped.total() - self._refused

    @property
    def plan(self) -> Plan:
        """The plan of the objects so far."""
        bounds = [*_BOUNDS, None]
        requests = {**self._requests, "LIST": self._listings()}
        return Plan(
            requests={kind: requests[kind] for kind in REQUEST_KINDS if requests.get(kind)},
            bytes_out=self._bytes_out,
            in_parts=self._in_parts,
            unsized=self._unsized,
            largest=sorted(self._largest, reverse=True),
            sizes=[SizeClass(bound, *counts) for bound, counts in zip(bounds, self._sizes, strict=True) if counts[0]],
            skipped=dict(self._skipped),
        )

    def _requests_of(self, ref: ObjectRef, parts: int) -> Mapping[str, int]:
        """The requests for one object, by kind. `parts` are its parts, 0 for one request."""
        stores, reads = ("COPY", 0) if self._on_server else ("PUT", parts or 1)
        if not parts:
            return {"GET": reads or int(ref.size is None), stores: 1}
        count = expected_digest(ObjectRef("", "", etag=ref.etag)).parts if self._asks_part_size else 0
        return {"GET": reads + 1, "HEAD": len(asked_parts(count)) if count > 1 else 0, "POST": 2, stores: parts}

    def _parts(self, ref: ObjectRef) -> int:
        """The number of parts in which an object would be copied, 0 for one request, as far as its row tells."""
        if self._on_server and not is_copied_in_parts(ref, self._part_size):
            return 0
        structure = expected_digest(ObjectRef("", "", size=ref.size), ref.etag, part_size=part_size_of_row(ref))
        part_size = ObjectHead(ref.size, ref.etag, expected_digest(ref), structure, {}).part_size(self._part_size)
        return -(-(ref.size or 0) // part_size) if part_size else 0


@contextmanager
def planned_objects(file: str | os.PathLike[str] | None) -> Iterator[Callable[[ObjectRef], None]]:
    """A function that writes objects to a manifest, one at a time. Without a `file` it does nothing."""
    if file is None:
        yield lambda _: None
        return
    name = os.fspath(file)
    with open_output(name) as stream:
        writer = object_writer(stream, name, output_format(name))
        yield lambda ref: writer.write([ref])
        writer.finish()
