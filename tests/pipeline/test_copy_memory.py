"""The memory of a copy of what is missing, with listings that no real server can give in time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import CREDENTIALS

#: Both buckets have the same keys, so that each object of the source is looked for among those of the destination.
MEASURE = """
import asyncio, re, sys
from pathlib import Path
import bulkpresign as bp
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.source.page import Page
count = int(sys.argv[1])
async def page(self, bucket, query):
    after = query.get("continuation-token") or query.get("start-after")
    first = int(after[1:]) + 1 if after else 0
    numbers = range(first, min(first + 1000, count))
    keys = [f"o{number:09}" for number in numbers]
    more = {"continuation-token": keys[-1]} if numbers.stop < count else None
    sizes, etags = [number + (bucket == "from") for number in numbers], [f"{number:032x}" for number in numbers]
    return Page(keys, sizes, etags, [None] * len(keys), [None] * len(keys), [], more, keys)
BucketLister._page = page
report = asyncio.run(bp.copy("s3://from/", "s3://into/", if_exists="keep", relay=True))
assert (report.done, report.skipped) == (0, count), report
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.timeout(300)  # a million objects, on a machine that may be busy
def test_memory_is_flat_for_a_million_objects_that_are_there(tmp_path: Path) -> None:
    """The bound: SQLite's caches of 8 MiB, of the journal and of the index of the destination."""
    peaks = []
    for count in (10_000, 1_000_000):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(count)],
            cwd=tmp_path,
            env={**os.environ, **CREDENTIALS},
            check=True,
            capture_output=True,
            text=True,
            timeout=200,
        )
        peaks.append(int(done.stdout))
        (tmp_path / "into.copy.journal").unlink()
    assert peaks[1] - peaks[0] < 40 * 1024, peaks
