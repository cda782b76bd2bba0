"""Copies from one S3 server to another: CPU time of the client, beside rclone, and s5cmd through a folder.

Both servers are SeaweedFS on this machine and work on the same cores as the client: compare CPU. rclone keeps metadata
as ours does (`--metadata`); s5cmd copies between two servers only through a folder, and loses it.
"""

import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.measuring import GIB, KIB, MIB, Cost, goal, run, scratch_folder, show, size_text
from benchmarks.transfers import OURS, environment
from bulkpresign.demo.server import EmbeddedServer

ROUNDS = 3
NAME, RCLONE, S5CMD = "bulkpresign", "rclone", "s5cmd through a folder"
SOURCE = "bench"
#: Size and number of objects, and the most CPU time in relation to each peer.
WORKS = ((4 * KIB, 20_000, {RCLONE: 0.4, S5CMD: 0.5}), (GIB, 1, {RCLONE: 0.6}))
#: --quick copies so many times fewer objects, or one that is so many times smaller.
QUICK = 64
_METADATA = {"ContentType": "text/csv", "CacheControl": "max-age=60", "Metadata": {"by": "benchmark"}}


def main(*, quick: bool) -> None:
    missing = [tool for tool in ("rclone", "s5cmd") if shutil.which(tool) is None]
    if missing:
        print(f"not installed, so left out: {', '.join(missing)}")
    for size, count, goals in WORKS:
        scaled = (size, count // QUICK) if count > QUICK else (size // QUICK, count)
        _measure(*(scaled if quick else (size, count)), goals, rounds=1 if quick else ROUNDS)


def _measure(size: int, count: int, goals: Mapping[str, float], rounds: int) -> None:
    with scratch_folder() as folder, ExitStack() as stack:
        source, destination = (stack.enter_context(EmbeddedServer()) for _ in range(2))
        _fill(source, size, count, folder)
        costs: dict[str, list[Cost]] = {}
        for number in range(rounds):
            for name, command in _commands(source, destination, number).items():
                _client(destination).create_bucket(Bucket=_bucket(name, number))
                costs.setdefault(name, []).append(run(command, _variables(source, destination, folder), folder))
                _check(destination, _bucket(name, number), count, has_metadata=name != S5CMD)
    best = {name: min(found, key=lambda cost: cost.cpu) for name, found in costs.items()}
    title = f"Copy of {count:,} x {size_text(size)}"
    if count > 1:
        figures, unit = {name: cost.cpu / count * 1e6 for name, cost in best.items()}, "us an object"
    else:
        figures, unit = {name: cost.cpu / (size * count / 1e9) for name, cost in best.items()}, "s/GB"
    show(f"{title}: CPU", unit, figures, NAME, more_is_better=False)
    show(f"{title}: time", "s", {name: cost.wall for name, cost in best.items()}, NAME, more_is_better=False)
    show(f"{title}: memory", "MiB", {name: cost.memory for name, cost in best.items()}, NAME, more_is_better=False)
    print()
    for peer, most in goals.items():
        if peer in best:
            goal(f"{title}: CPU against {peer}", best[NAME].cpu / best[peer].cpu, most=most)


def _bucket(name: str, number: int) -> str:
    return f"to-{number}-{name.split()[0]}"


def _commands(source: EmbeddedServer, destination: EmbeddedServer, number: int) -> dict[str, Sequence[str]]:
    """The commands of all tools that are installed, each to a bucket of its own."""
    sides = ("--source-profile", "source", "--destination-profile", "destination")
    ours = [*OURS, "copy", f"s3://{SOURCE}/", f"s3://{_bucket(NAME, number)}/", *sides, "-q"]
    rclone = ["rclone", "copy", "--metadata", "--transfers", "32", "--checkers", "32"]
    down = ["s5cmd", "--profile", "source", "--endpoint-url", source.endpoint_url, "cp", f"s3://{SOURCE}/*", "held/"]
    up = ["s5cmd", "--profile", "destination", "--endpoint-url", destination.endpoint_url, "cp", "held/"]
    both = f"rm -rf held; {shlex.join(down)} && {shlex.join([*up, f's3://{_bucket(S5CMD, number)}/'])}"
    commands: dict[str, Sequence[str]] = {NAME: ours}
    if shutil.which("rclone"):
        commands[RCLONE] = [*rclone, f"source:{SOURCE}", f"destination:{_bucket(RCLONE, number)}"]
    if shutil.which("s5cmd"):
        commands[S5CMD] = ["sh", "-c", both]
    return commands


def _variables(source: EmbeddedServer, destination: EmbeddedServer, folder: Path) -> dict[str, str]:
    """Both sides, as AWS tools find them by profiles, and rclone by remotes."""
    profiles, credentials, variables = "", "", {"RCLONE_CONFIG": os.devnull}
    for side, server in (("source", source), ("destination", destination)):
        keys = server.environment
        credentials += f"[{side}]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
        credentials += f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n"
        profiles += f"[profile {side}]\nregion = us-east-1\nendpoint_url = {server.endpoint_url}\n"
        remote = f"RCLONE_CONFIG_{side.upper()}"
        variables |= {
            f"{remote}_TYPE": "s3",
            f"{remote}_PROVIDER": "SeaweedFS",
            f"{remote}_ENDPOINT": server.endpoint_url,
            f"{remote}_ACCESS_KEY_ID": keys["AWS_ACCESS_KEY_ID"],
            f"{remote}_SECRET_ACCESS_KEY": keys["AWS_SECRET_ACCESS_KEY"],
        }
    (folder / "config").write_text(profiles)
    (folder / "credentials").write_text(credentials)
    variables |= {
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
    }
    return environment(variables)


def _fill(server: EmbeddedServer, size: int, count: int, folder: Path) -> None:
    client = _client(server)
    client.create_bucket(Bucket=SOURCE)
    if count == 1:
        file = folder / "object.bin"
        with file.open("wb") as stream:  # the peak memory of a child is at least that of this process at its start
            for _ in range(size // MIB):
                stream.write(os.urandom(MIB))
        client.upload_file(str(file), SOURCE, "object.bin", ExtraArgs=_METADATA)
        file.unlink()
        return
    for number in range(count):
        key = f"{number % 10}/{number:07d}.csv"
        client.put_object(Bucket=SOURCE, Key=key, Body=os.urandom(size), **_METADATA)


def _check(server: EmbeddedServer, bucket: str, count: int, *, has_metadata: bool) -> None:
    client = _client(server)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    metadata = client.head_object(Bucket=bucket, Key=keys[0])["Metadata"] if keys else {}
    if len(keys) != count or (has_metadata and metadata.get("by") != "benchmark"):
        raise SystemExit(f"{bucket} has {len(keys):,} of {count:,} objects, with metadata {json.dumps(metadata)}")


def _client(server: EmbeddedServer) -> Any:
    keys = server.environment
    session = import_module("boto3").Session(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    return session.client("s3", endpoint_url=server.endpoint_url, region_name="us-east-1")
