"""Objects listed, beside boto3's paginator: by CPU, and by time where a server takes 50 ms for each request.

The server is a thread of this process. It gives pages in the form of S3's, of keys that it computes as they are wanted.
The name of a bucket says how many keys it has, in how many folders: `list-100000-40`. `flat-100000-0` has hashes, in
no folder. `versions-100000-40` has four versions of each key, and a delete marker, in 40 folders.

`python -m benchmarks.listing ours|sequential|boto3 BUCKET` lists a bucket.
"""

import asyncio
import os
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import overload
from unittest.mock import patch
from urllib.parse import parse_qs, quote, urlsplit

from benchmarks.measuring import Cost, goal, run, show
from bulkpresign import Presigner
from bulkpresign.events import Event
from bulkpresign.pipeline.sources import listings
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.source.lister import FetchPage, Lister

ROUNDS = 3
OURS, PEER, SEQUENTIAL = "bulkpresign", "boto3 paginator", "one request after another"
#: Objects a second of CPU.
GOAL = 100_000
#: The least that both list. What more objects cost is the difference to it: the start of Python is left out.
BASE = 1_000
LATENCY = 0.05
PAGE = 1000
_OBJECT = (
    "<Contents><Key>{}</Key><LastModified>2026-11-26T22:28:57.000Z</LastModified>"
    "<ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
    "<ChecksumType>FULL_OBJECT</ChecksumType><Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
_VERSION = _OBJECT.replace("Contents>", "Version>").replace("<Size>", "<VersionId>{}</VersionId><Size>")
_MARKER = "<DeleteMarker><Key>{}</Key><VersionId>{}</VersionId></DeleteMarker>"
#: Versions of each key of `versions-...`, and all its entries, with the delete marker.
VERSIONS, ENTRIES = 4, 5
_PREFIX = "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>"
_PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>bench</Name><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType>{}</ListBucketResult>"
)


def main(*, quick: bool) -> None:
    scale = 10 if quick else 1
    many, few = 1_000_000 // scale, 50_000 // scale
    with _serving(0.0) as endpoint_url:
        counts = (BASE, many // 100, many // 10, many)
        contenders = [("ours", count) for count in counts] + [("boto3", count) for count in (BASE, few)]
        best = _best([(who, f"list-{count}-1") for who, count in contenders], endpoint_url)
    ours = {count: best["ours", f"list-{count}-1"] for count in counts}
    peer = {count: best["boto3", f"list-{count}-1"] for count in (BASE, few)}
    rates = {
        OURS: (many - BASE) / (ours[many].cpu - ours[BASE].cpu),
        PEER: (few - BASE) / (peer[few].cpu - peer[BASE].cpu),
    }
    show(f"Objects listed per second of CPU ({many:,} and {few:,})", "objects/s", rates, PEER, more_is_better=True)
    print("\n  memory: " + ", ".join(f"{count:,} objects {cost.memory:.0f} MiB" for count, cost in ours.items()))
    shapes = {
        "in 40 folders": f"list-{2 * few}-40",
        "numbers in one folder": f"list-{2 * few}-1",
        "hashes in no folder": f"flat-{2 * few}-0",
        "versions in 40 folders": f"versions-{2 * few}-40",
        "versions in one folder": f"versions-{2 * few}-1",
    }
    with _serving(LATENCY) as endpoint_url:
        waited = [(who, bucket) for bucket in shapes.values() for who in ("ours", "sequential", "boto3")]
        waiting = _best(waited, endpoint_url)
    waits = {}
    for shape, bucket in shapes.items():
        waits[shape] = {
            name: 2 * few / (waiting[who, bucket].wall - started.wall)
            for name, who, started in (
                (OURS, "ours", ours[BASE]),
                (SEQUENTIAL, "sequential", ours[BASE]),
                (PEER, "boto3", peer[BASE]),
            )
        }
        title = f"Objects listed per second, {2 * few:,} {shape}, {LATENCY * 1000:.0f} ms for each request"
        show(title, "objects/s", waits[shape], PEER, more_is_better=True)
    print()
    goal(f"objects/s of CPU against {GOAL:,}", rates[OURS] / GOAL, least=1)
    goal("objects/s of CPU against boto3", rates[OURS] / rates[PEER], least=10)
    fewer = many // 10  # with 100,000 objects, as many pages are in flight as with more
    goal(f"memory of {many:,} objects against {fewer:,}", ours[many].memory / ours[fewer].memory, most=1.1)
    for shape, found in waits.items():
        goal(f"objects/s with waits, {shape}, against one after another", found[OURS] / found[SEQUENTIAL], least=3)


def _best(listings: Sequence[tuple[str, str]], endpoint_url: str) -> dict[tuple[str, str], Cost]:
    """The round of each listing that took the least CPU; a listing is `ours` or `boto3`, and a bucket."""
    keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = os.environ | keys | {"AWS_ENDPOINT_URL": endpoint_url, "PYTHONPATH": str(Path(__file__).parents[1])}
    best: dict[tuple[str, str], Cost] = {}
    for _ in range(ROUNDS):
        for listing in listings:
            cost = run([sys.executable, "-m", "benchmarks.listing", *listing], environment)
            best[listing] = min(best.get(listing, cost), cost, key=lambda cost: cost.cpu)
    return best


class _Keys(Sequence[str]):
    """The keys of a bucket in order, computed when they are read: `count` keys of 60 bytes in some folders."""

    def __init__(self, bucket: str) -> None:
        kind, count, folders = bucket.split("-")
        self.has_versions = kind == "versions"
        self._count = int(count) // (VERSIONS if self.has_versions else 1)
        self.in_folder = self._count // (int(folders) or 1)
        self._has_hashes = folders == "0"

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._count))]
        if self._has_hashes:
            spread = (index + index * 2654435761 % 2**32 / 2**32) / self._count
            return f"{int(spread * 2**56):014x}-a-name-that-is-as-long-as-names-are-there.parquet"
        return f"{index // self.in_folder:04}/{index % self.in_folder:08}-a-name-that-is-as-long-as-names.parquet"

    def page(self, query: dict[str, str]) -> str:
        """The page that a request asks for."""
        prefix = query.get("prefix", "")
        after = query.get("continuation-token") or query.get("start-after") or query.get("key-marker", "")
        start, end = bisect_right(self, max(after, prefix)), bisect_right(self, f"{prefix}\U0010ffff")
        if "delimiter" in query and not prefix and not self._has_hashes:
            folders = range(-(-start // self.in_folder), end // self.in_folder)
            inner = "".join(_PREFIX.format(quote(f"{folder:04}/")) for folder in folders)
            return _PAGE.format(f"{inner}<IsTruncated>false</IsTruncated>")
        if self.has_versions:
            version = query.get("version-id-marker")
            first = start * ENTRIES if version is None else (start - 1) * ENTRIES + int(version) + 1
            return self._page_of_versions(first, end * ENTRIES, PAGE)
        keys = self[start : min(end, start + PAGE)]
        inner = "".join(_OBJECT.format(quote(key)) for key in keys)
        if start + PAGE >= end:
            return _PAGE.format(f"<IsTruncated>false</IsTruncated>{inner}")
        return _PAGE.format(
            f"<IsTruncated>true</IsTruncated><NextContinuationToken>{keys[-1]}</NextContinuationToken>{inner}"
        )

    def _page_of_versions(self, first: int, end: int, most: int) -> str:
        """The page of entries from one number up to another. The first entry of each key is its delete marker."""
        entries = [divmod(number, ENTRIES) for number in range(first, min(end, first + most))]
        named = [(quote(self[at]), version) for at, version in entries]
        inner = "".join((_VERSION if version else _MARKER).format(key, version) for key, version in named)
        told = f"<IsTruncated>{'true' if first + most < end else 'false'}</IsTruncated>"
        if first + most < end:
            key, version = named[-1]
            told += f"<NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>{version}</NextVersionIdMarker>"
        return _PAGE.replace("ListBucketResult", "ListVersionsResult").format(f"{told}{inner}")


@contextmanager
def _serving(latency: float) -> Iterator[str]:
    """A server that takes `latency` seconds for each request. Gives its url."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            time.sleep(latency)
            asked = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(asked.query).items()}
            body = _Keys(asked.path.strip("/")).page(query).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def _list(bucket: str, *, is_parallel: bool) -> int:
    def start(fetch: FetchPage, prefix: str, **settings: bool) -> Lister:
        return Lister(fetch, prefix, is_parallel=is_parallel, **settings)

    all_versions = _Keys(bucket).has_versions
    with patch.object(listings, "Lister", start):
        async with Presigner() as presigner, BucketLister(presigner, _ignore, all_versions=all_versions) as lister:
            return sum([len(refs) async for refs in lister.objects(bucket, "")])


def _ignore(_: Event) -> None:
    """Hears the events of a listing."""


def _list_by_boto3(bucket: str) -> int:
    config = import_module("botocore.config").Config(signature_version="s3v4")
    client = import_module("boto3").client("s3", config=config)
    has_versions = _Keys(bucket).has_versions
    pages = client.get_paginator("list_object_versions" if has_versions else "list_objects_v2").paginate(Bucket=bucket)
    return sum(len(page["Versions" if has_versions else "Contents"]) for page in pages)


if __name__ == "__main__":
    _, who, bucket = sys.argv
    found = _list_by_boto3(bucket) if who == "boto3" else asyncio.run(_list(bucket, is_parallel=who == "ours"))
    expected = int(bucket.split("-")[1])
    if found != expected:
        raise SystemExit(f"{found:,} of {expected:,} objects were listed")
