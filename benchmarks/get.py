"""Objects down, beside other downloaders; at SeaweedFS also beside bare pools, which do nothing but download.

Ours writes a journal, verifies what arrives, and renames a file when it is whole. s5cmd signs its own requests.
"""

import sys

from benchmarks.comparison import SEAWEEDFS, SIZE_AT_SEAWEEDFS, Comparison
from benchmarks.measuring import GIB, KIB, goal
from benchmarks.nginx import HTTP, HTTPS, NAMES
from benchmarks.transfer_table import CPU, WALL, Goal, Result
from benchmarks.transfers import BUCKET, BY_CRC, BY_MD5, CONCURRENCY

#: What the bare aiohttp pool cost an object on the machine for which goals were set in us; ratios to it go anywhere.
POOL_US = 97
POOL, ENGINE, EVERYTHING = "bare aiohttp pool", "bare engine", "engine with everything"
BARE = {POOL: "aiohttp", ENGINE: "engine", EVERYTHING: "everything"}
GOALS = (
    Goal([HTTP], 4 * KIB, 1.2, [BY_MD5]),
    Goal([HTTP], 4 * KIB, 1.0, [BY_CRC]),
    Goal([HTTPS], 4 * KIB, 1.3),
    Goal(NAMES, 64 * KIB, 1.1),
    Goal(NAMES, GIB, 1.2, [BY_CRC]),
    Goal([SEAWEEDFS], 4 * KIB, 1.0, figure=CPU),
    Goal([SEAWEEDFS], 4 * KIB, 1.0, figure=WALL),
)


def _against_bare(result: Result) -> None:
    """Goals for what our process does besides downloading."""
    cost = {name: min(result.seconds(name, CPU)) for name in (BY_MD5, *BARE)}
    around = cost[EVERYTHING] - cost[ENGINE]
    each = around / result.work.count * 1e6
    print(f"\n  journal, verification, retries and progress: {each:.1f} us an object over the bare engine")
    goal("everything on, against a bare aiohttp pool", cost[BY_MD5] / cost[POOL], most=110 / POOL_US)
    goal("what is around the bare engine, against a bare aiohttp pool", around / cost[POOL], most=20 / POOL_US)


_OBJECTS = f"s3://{BUCKET}/{SIZE_AT_SEAWEEDFS}/*"
_S5CMD = ["s5cmd", "--numworkers", str(CONCURRENCY), "--log", "error", "cp", _OBJECTS, "to/"]
_POOLS = {name: [sys.executable, "-m", "benchmarks.bare", kind, "links-md5.csv", "to"] for name, kind in BARE.items()}
main = Comparison("GET", GOALS, {**_POOLS, "s5cmd": _S5CMD}, _against_bare).main
