"""One large object down and up: CPU seconds per GB of the whole process and MB/s, beside other tools.

The server is SeaweedFS on this machine, which works on the same cores: compare CPU. Ours verifies what arrives, by the
checksum that the manifest tells or by the md5 that the etag is; curl and aria2 verify nothing.
"""

import base64
import csv
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.measuring import Cost, goal, run, show
from bulkpresign.checksums import hasher
from bulkpresign.demo.server import EmbeddedServer
from bulkpresign.demo.tour import make_bucket

ROUNDS = 2
#: Those with a goal run side by side more often: what else the machine does falls on both.
ROUNDS_OF_PAIR = 7
BUCKET = "large"
NAME = "object.bin"
OURS = str(Path(sys.executable).with_name("bulkpresign"))
BY_CRC, BY_MD5 = "bulkpresign by crc64nvme", "bulkpresign by md5"
PAIR = (BY_CRC, "curl")

Commands = Mapping[str, Sequence[str]]


def main(*, quick: bool) -> None:
    size = (1 << 30) // (16 if quick else 1)
    scratch = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=scratch) as name, EmbeddedServer() as server:
        folder = Path(name)
        make_bucket(server, BUCKET)
        environment = os.environ | server.environment | _rclone(server)
        _prepare(folder, size, environment)
        _compare("GET", size, _gets(server, folder), folder, environment, lambda: _same(folder))
        _compare("PUT", size, _puts(server, folder), folder, environment, lambda: None)


def _compare(
    title: str, size: int, commands: Commands, folder: Path, environment: Mapping[str, str], check: Callable[[], None]
) -> None:
    costs: dict[str, list[Cost]] = {name: [] for name, command in commands.items() if shutil.which(command[0])}
    for number in range(ROUNDS_OF_PAIR):
        for name in costs if number < ROUNDS else PAIR:
            _clear(folder)
            costs[name].append(run(commands[name], environment, folder))
            check()
    best = {name: min(found, key=lambda cost: cost.cpu) for name, found in costs.items()}
    gigabytes = size / 1e9
    cpu = {name: cost.cpu / gigabytes for name, cost in best.items()}
    show(f"{title} of {size >> 20:,} MiB: CPU", "s/GB", cpu, BY_CRC, more_is_better=False)
    speed = {name: gigabytes * 1000 / cost.wall for name, cost in best.items()}
    show(f"{title} of {size >> 20:,} MiB: speed", "MB/s", speed, BY_CRC, more_is_better=True)
    print()
    ratios = [ours.cpu / curl.cpu for ours, curl in zip(*(costs[name] for name in PAIR), strict=True)]
    goal(f"{title}: CPU against curl, the middle of {len(ratios)} rounds", median(ratios), most=1.5)


def _prepare(folder: Path, size: int, environment: Mapping[str, str]) -> None:
    """The file, and manifests of links: for down by either proof, and for up."""
    (folder / "from").mkdir()
    with (folder / "from" / NAME).open("wb") as stream:
        for _ in range(size >> 20):
            stream.write(os.urandom(1 << 20))
    crc = hasher("crc64nvme")
    with (folder / "from" / NAME).open("rb") as stream:
        while block := stream.read(1 << 20):
            crc.update(block)
    checksum = f"crc64nvme:{base64.b64encode(crc.digest()).decode()}"
    row = f"{BUCKET},{NAME},{size}"
    (folder / "plain.csv").write_text(f"bucket,key,size\n{row}\n")
    (folder / "proven.csv").write_text(f"bucket,key,size,checksum\n{row},{checksum}\n")
    sign = [OURS, "sign"]
    run([*sign, "plain.csv", "--method", "PUT", "-o", "up-md5.csv"], environment, folder)
    run([*sign, "proven.csv", "--method", "PUT", "-o", "up-crc.csv"], environment, folder)
    run([OURS, "put", "up-md5.csv", "--from", "from"], environment, folder)
    run([*sign, "plain.csv", "-o", "down-md5.csv"], environment, folder)
    run([*sign, "proven.csv", "-o", "down-crc.csv"], environment, folder)


def _gets(server: EmbeddedServer, folder: Path) -> Commands:
    url = _url(folder / "down-md5.csv")
    get = [OURS, "get"]
    return {
        BY_CRC: [*get, "down-crc.csv", "--to", "to"],
        "curl": ["curl", "--silent", "--output", f"to/{NAME}", url],
        BY_MD5: [*get, "down-md5.csv", "--to", "to"],
        "aria2 -x 8": ["aria2c", "--quiet", "-x", "8", "-s", "8", "--dir", "to", "--out", NAME, url],
        "s5cmd": ["s5cmd", "--endpoint-url", server.endpoint_url, "cp", f"s3://{BUCKET}/{NAME}", f"to/{NAME}"],
        "rclone": ["rclone", "copyto", f"server:{BUCKET}/{NAME}", f"to/{NAME}"],
        "aws": ["aws", "s3", "cp", "--quiet", f"s3://{BUCKET}/{NAME}", f"to/{NAME}"],
    }


def _puts(server: EmbeddedServer, folder: Path) -> Commands:
    url = _url(folder / "up-md5.csv")
    put = [OURS, "put"]
    file = f"from/{NAME}"
    return {
        BY_CRC: [*put, "up-crc.csv", "--from", "from"],
        "curl": ["curl", "--silent", "--fail", "--upload-file", file, url],
        BY_MD5: [*put, "up-md5.csv", "--from", "from"],
        "s5cmd": ["s5cmd", "--endpoint-url", server.endpoint_url, "cp", file, f"s3://{BUCKET}/{NAME}"],
        "rclone": ["rclone", "copyto", "--ignore-times", file, f"server:{BUCKET}/{NAME}"],
        "aws": ["aws", "s3", "cp", "--quiet", file, f"s3://{BUCKET}/{NAME}"],
    }


def _rclone(server: EmbeddedServer) -> dict[str, str]:
    keys = server.environment
    return {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_SERVER_TYPE": "s3",
        "RCLONE_CONFIG_SERVER_PROVIDER": "Other",
        "RCLONE_CONFIG_SERVER_ENDPOINT": server.endpoint_url,
        "RCLONE_CONFIG_SERVER_ACCESS_KEY_ID": keys["AWS_ACCESS_KEY_ID"],
        "RCLONE_CONFIG_SERVER_SECRET_ACCESS_KEY": keys["AWS_SECRET_ACCESS_KEY"],
    }


def _url(manifest: Path) -> str:
    with manifest.open(newline="") as stream:
        return next(csv.DictReader(stream))["url"]


def _clear(folder: Path) -> None:
    shutil.rmtree(folder / "to", ignore_errors=True)
    for journal in folder.glob("*.journal*"):
        journal.unlink()
    (folder / "to").mkdir()


def _same(folder: Path) -> None:
    found, expected = ((folder / where / NAME).stat().st_size for where in ("to", "from"))
    if found != expected:
        raise SystemExit(f"{found:,} bytes arrived, not {expected:,}")
