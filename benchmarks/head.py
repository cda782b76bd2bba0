"""Objects asked for by `sign --head`: HEADs a second of CPU of the whole process, beside boto3's loop of `head_object`.

The server is SeaweedFS on this machine, so wall time would measure the server. Ours writes a signed link for each
object as well; boto3 throws the answers away.

`python -m benchmarks.head KEYS` is the loop of boto3.
"""

import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from benchmarks.measuring import Cost, goal, run, show
from bulkpresign.demo.server import EmbeddedServer
from bulkpresign.demo.tour import make_bucket

CONCURRENCY = 64
ROUNDS = 3
BUCKET = "bench"
OURS, PEER = "bulkpresign sign --head", "boto3 head_object"
#: HEADs a second of CPU.
GOAL = 5_000


def main(*, quick: bool) -> None:
    many, few = (2_000, 200) if quick else (20_000, 2_000)
    scratch = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=scratch) as name, EmbeddedServer() as server:
        folder = Path(name)
        make_bucket(server, BUCKET)
        environment = os.environ | server.environment | {"PYTHONPATH": str(Path(__file__).parents[1])}
        _fill(folder, environment, many, few)
        ours = [sys.executable, "-m", "bulkpresign", "sign", "many.csv", "-o", "links.csv", "--head", "-q"]
        contenders = {
            OURS: [*ours, "--concurrency", str(CONCURRENCY)],
            PEER: [sys.executable, "-m", "benchmarks.head", "few.csv"],
        }
        best: dict[str, Cost] = {}
        for _ in range(ROUNDS):
            for name, command in contenders.items():
                cost = run(command, environment, folder)
                best[name] = min(best.get(name, cost), cost, key=lambda cost: cost.cpu)
        _check(folder, many)
    rates = {OURS: many / best[OURS].cpu, PEER: few / best[PEER].cpu}
    show(f"HEADs per second of CPU ({many:,} and {few:,} objects)", "HEADs/s", rates, PEER, more_is_better=True)
    print(f"\n  peak memory: {best[OURS].memory:.0f} MiB for {many:,} objects\n")
    goal(f"HEADs/s of CPU against {GOAL:,}", rates[OURS] / GOAL, least=1)
    goal("HEADs/s of CPU against boto3", rates[OURS] / rates[PEER], least=10)


def _fill(folder: Path, environment: dict[str, str], many: int, few: int) -> None:
    source = folder / "from"
    source.mkdir()
    names = [f"{n:06d}.bin" for n in range(many)]
    for name in names:
        (source / name).write_bytes(name.encode())
    run([sys.executable, "-m", "bulkpresign", "put", "from", f"s3://{BUCKET}/"], environment, folder)
    for table, count in (("many.csv", many), ("few.csv", few)):
        (folder / table).write_text("bucket,key\n" + "".join(f"{BUCKET},{name}\n" for name in names[:count]))


def _check(folder: Path, count: int) -> None:
    rows = (folder / "links.csv").read_text().splitlines()[1:]
    if len(rows) != count or any(row.split(",")[7] != "10" for row in rows):
        raise SystemExit(f"{len(rows):,} of {count:,} rows tell their size")


def _loop(file: str) -> None:
    config = import_module("botocore.config").Config(signature_version="s3v4")
    client = import_module("boto3").client("s3", config=config)
    for line in Path(file).read_text().splitlines()[1:]:
        bucket, _, key = line.partition(",")
        client.head_object(Bucket=bucket, Key=key)


if __name__ == "__main__":
    _loop(sys.argv[1])
