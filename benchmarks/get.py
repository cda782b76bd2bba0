"""Small objects through links: CPU of the whole process per object, beside other downloaders and beside bare pools.

The server is SeaweedFS on this machine, so wall time would measure the server. s5cmd signs its own requests.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.bare import CONCURRENCY
from benchmarks.measuring import Cost, goal, run, show
from bulkpresign.demo.server import EmbeddedServer
from bulkpresign.demo.tour import make_bucket

SIZE = 4096
#: What the bare aiohttp pool cost an object on the machine for which goals were set in us; ratios to it go anywhere.
POOL_US = 97
ROUNDS = 3
BUCKET = "bench"
OURS = "bulkpresign"
POOL = "bare aiohttp pool"
ENGINE = "bare engine"
EVERYTHING = "engine with everything"


def main(*, quick: bool) -> None:
    count = 2_000 if quick else 20_000
    scratch = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=scratch) as name, EmbeddedServer() as server:
        folder = Path(name)
        make_bucket(server, BUCKET)
        _fill(folder, server, count)
        best: dict[str, Cost] = {}
        for _ in range(ROUNDS):
            for name, command in _contenders(server).items():
                _clear(folder)
                cost = run(command, _environment(server), folder)
                _check(folder, count, name)
                best[name] = min(best.get(name, cost), cost, key=lambda cost: cost.cpu)
    figures = {name: cost.cpu / count * 1e6 for name, cost in best.items()}
    show(f"CPU per object ({count:,} objects of {SIZE:,} bytes)", "us", figures, OURS, more_is_better=False)
    print()
    around = figures[EVERYTHING] - figures[ENGINE]
    print(f"  journal, verification, retries and progress: {around:.1f} us an object over the bare engine")
    goal("everything on, against a bare aiohttp pool", figures[OURS] / figures[POOL], most=110 / POOL_US)
    goal("what is around the bare engine, against a bare aiohttp pool", around / figures[POOL], most=20 / POOL_US)


def _contenders(server: EmbeddedServer) -> dict[str, list[str]]:
    many = str(CONCURRENCY)
    aria2 = ["aria2c", "--quiet", "--dir", "to", "--input-file", "aria2.txt", "--max-concurrent-downloads", many]
    s5cmd = ["s5cmd", "--numworkers", many, "--log", "error", "cp", f"s3://{BUCKET}/*", "to/"]
    known = {
        OURS: [sys.executable, "-m", "bulkpresign", "get", "links.csv", "--to", "to", "--concurrency", many],
        ENGINE: [sys.executable, "-m", "benchmarks.bare", "engine", "links.csv", "to"],
        EVERYTHING: [sys.executable, "-m", "benchmarks.bare", "everything", "links.csv", "to"],
        POOL: [sys.executable, "-m", "benchmarks.bare", "aiohttp", "links.csv", "to"],
        "curl": ["curl", "--silent", "--create-dirs", "--parallel", "--parallel-max", many, "--config", "curl.txt"],
        "aria2c": aria2,
        "s5cmd": ["env", f"S3_ENDPOINT_URL={server.endpoint_url}", *s5cmd],
    }
    return {name: command for name, command in known.items() if command[0] == sys.executable or shutil.which(name)}


def _environment(server: EmbeddedServer) -> dict[str, str]:
    root = str(Path(__file__).parents[1])  # for the bare pools, which run in another folder
    return {**os.environ, **server.environment, "PYTHONPATH": root}


def _clear(folder: Path) -> None:
    shutil.rmtree(folder / "to", ignore_errors=True)
    (folder / "to.journal").unlink(missing_ok=True)


def _fill(folder: Path, server: EmbeddedServer, count: int) -> None:
    source = folder / "from"
    source.mkdir()
    for n in range(count):
        (source / f"{n:06d}.bin").write_bytes(os.urandom(SIZE))
    environment = os.environ | server.environment
    ours = [sys.executable, "-m", "bulkpresign"]
    run([*ours, "put", "from", f"s3://{BUCKET}/", "--concurrency", str(CONCURRENCY)], environment, folder)
    run([*ours, "sign", f"s3://{BUCKET}/", "-o", "links.csv"], environment, folder)
    shutil.rmtree(source)
    rows = [line.split(",") for line in (folder / "links.csv").read_text().splitlines()[1:]]
    pairs = [(row[4], row[11]) for row in rows]
    (folder / "curl.txt").write_text("".join(f'url = "{url}"\noutput = "to/{path}"\n' for url, path in pairs))
    (folder / "aria2.txt").write_text("".join(f"{url}\n  out={path}\n" for url, path in pairs))


def _check(folder: Path, count: int, name: str) -> None:
    files = list((folder / "to").iterdir())
    if len(files) != count or any(file.stat().st_size != SIZE for file in files):
        raise SystemExit(f"{name} left {len(files):,} of {count:,} files")
