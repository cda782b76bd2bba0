"""Objects up, beside other tools. Ours writes a journal, hashes what it sends, and compares what the server stored.

curl compares nothing. s5cmd signs its own requests.
"""

from benchmarks.comparison import SEAWEEDFS, SIZE_AT_SEAWEEDFS, Comparison
from benchmarks.measuring import GIB, KIB
from benchmarks.nginx import HTTP, NAMES
from benchmarks.transfer_table import CPU, WALL, Goal
from benchmarks.transfers import BUCKET, BY_CRC, CONCURRENCY

GOALS = (
    Goal([HTTP], 4 * KIB, 0.9),
    Goal(NAMES, GIB, 1.2, [BY_CRC]),
    Goal([SEAWEEDFS], 4 * KIB, 1.0, figure=CPU),
    Goal([SEAWEEDFS], 4 * KIB, 1.0, figure=WALL),
)
_OBJECTS = f"s3://{BUCKET}/{SIZE_AT_SEAWEEDFS}/"
_S5CMD = ["s5cmd", "--numworkers", str(CONCURRENCY), "--log", "error", "cp", "from/", _OBJECTS]
main = Comparison("PUT", GOALS, {"s5cmd": _S5CMD}).main
