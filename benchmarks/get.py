"""Small objects through links: CPU of the whole process per object, beside other downloaders.

The server is SeaweedFS on this machine, so wall time would measure the server. s5cmd signs its own requests.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import Cost, goal, run, show
from bulkpresign.demo.server import EmbeddedServer
from bulkpresign.demo.tour import make_bucket

SIZE = 4096
ROUNDS = 3
CONCURRENCY = 32
BUCKET = "bench"


def main(*, quick: bool) -> None:
    count = 2_000 if quick else 20_000
    scratch = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=scratch) as name, EmbeddedServer() as server:
        folder = Path(name)
        make_bucket(server, BUCKET)
        _fill(folder, server, count)
        contenders = {
            name: make for name, make in _contenders(server).items() if shutil.which(name) or name == "bulkpresign"
        }
        best: dict[str, Cost] = {}
        for _ in range(ROUNDS):
            for name, command in contenders.items():
                shutil.rmtree(folder / "to", ignore_errors=True)
                (folder / "to").mkdir()
                cost = run(command(), os.environ | server.environment, folder)
                _check(folder, count, name)
                best[name] = min(best.get(name, cost), cost, key=lambda cost: cost.cpu)
    figures = {name: cost.cpu / count * 1e6 for name, cost in best.items()}
    show(
        f"CPU per object ({count:,} objects of {SIZE:,} bytes)",
        "us",
        figures,
        "bulkpresign",
        more_is_better=False,
    )
    print()
    goal("us of CPU per object, everything on", figures["bulkpresign"], most=110)


def _contenders(server: EmbeddedServer) -> dict[str, Callable[[], list[str]]]:
    ours = [
        sys.executable,
        "-m",
        "bulkpresign",
        "get",
        "links.csv",
        "--to",
        "to",
        "--concurrency",
        str(CONCURRENCY),
    ]
    curl = ["curl", "--silent", "--parallel", "--parallel-max", str(CONCURRENCY), "--config", "curl.txt"]
    aria2 = [
        "aria2c",
        "--quiet",
        "--dir",
        "to",
        "--input-file",
        "aria2.txt",
        "--max-concurrent-downloads",
        str(CONCURRENCY),
    ]
    s5cmd = ["s5cmd", "--numworkers", str(CONCURRENCY), "--log", "error", "cp", f"s3://{BUCKET}/*", "to/"]
    return {
        "bulkpresign": lambda: ours,
        "curl": lambda: curl,
        "aria2c": lambda: aria2,
        "s5cmd": lambda: ["env", f"S3_ENDPOINT_URL={server.endpoint_url}", *s5cmd],
    }


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
    pairs = [(row[4], row[-1]) for row in rows]
    (folder / "curl.txt").write_text("".join(f'url = "{url}"\noutput = "to/{path}"\n' for url, path in pairs))
    (folder / "aria2.txt").write_text("".join(f"{url}\n  out={path}\n" for url, path in pairs))


def _check(folder: Path, count: int, name: str) -> None:
    files = list((folder / "to").iterdir())
    if len(files) != count or any(file.stat().st_size != SIZE for file in files):
        raise SystemExit(f"{name} left {len(files):,} of {count:,} files")
