"""The guided tour: upload, sign, download and upload again on an embedded server, with shell commands."""

import csv
import filecmp
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from urllib.request import ProxyHandler, Request, build_opener

from bulkpresign.demo.server import EmbeddedServer

BUCKET = "bulkpresign-demo"
OBJECTS = 300
_SEED = 20260131
_KINDS = (
    ("events/{year}/{month:02}/{day:02}/part-{n:05}.parquet", 2_000, 400_000),
    ("images/cam-{camera}/{year}-{month:02}-{day:02} {hour:02}.{minute:02}.jpg", 20_000, 300_000),
    ("reports/{year}/Q{quarter} Übersicht, final ({n}).pdf", 5_000, 60_000),
    ("logs/{year}{month:02}{day:02}T{hour:02}{minute:02}Z+{n}.log.gz", 200, 20_000),
)


def tour(*, keep: bool) -> int:
    """Runs the tour and returns its exit code. With `keep`, the server keeps running until Ctrl-C.

    Ctrl-C and SIGTERM stop the tour at any time, and leave no process and no file.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for background jobs
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with tempfile.TemporaryDirectory(prefix="bulkpresign-demo-") as folder, EmbeddedServer() as server:
            code = _Tour(Path(folder), server).run()
            if keep:
                _wait(server, Path(folder))
            else:
                _say("The server has stopped; `bulkpresign demo --keep` leaves it running.")
    except KeyboardInterrupt:
        _say("\nstopped; no process and no file is left")
        return 130
    return code


class _Tour:
    def __init__(self, folder: Path, server: EmbeddedServer) -> None:
        self._folder = folder
        self._server = server

    def run(self) -> int:
        _say(f"An S3 server (SeaweedFS) runs at {self._server.endpoint_url}; files are in {self._folder}.")
        names = _make_files(self._folder / "dataset")
        make_bucket(self._server, BUCKET)

        _say(f"\n1. Someone with credentials fills a bucket with {len(names)} objects.")
        self._command(["put", "dataset", f"s3://{BUCKET}/2026/"], credentials=True)

        _say("\n2. They sign a manifest: one link per object, valid for an hour.")
        source = f"s3://{BUCKET}/2026/"
        self._command(["sign", source, "-o", "links.csv", "--expires-in", "1h"], credentials=True)

        _say("\n3. Someone without an account downloads all objects with it.")
        self._command(["get", "links.csv", "--to", "downloaded"])

        _say("\n4. Again: files that exist and match are not downloaded again.")
        self._command(["get", "links.csv", "--to", "downloaded"])

        _say("\n5. The other direction: links that allow a PUT, and files that are uploaded with them.")
        self._command(["sign", "links.csv", "--method", "PUT", "-o", "uploads.jsonl"], credentials=True)
        self._command(["put", "uploads.jsonl", "--from", "downloaded"])

        same = _same(self._folder / "dataset", self._folder / "downloaded", names)
        _say(f"\nResult: {same} of {len(names)} files are the same, byte for byte, after these steps.")
        return 0 if same == len(names) else 1

    def _command(self, arguments: list[str], *, credentials: bool = False) -> None:
        """Shows a command and runs it, with or without credentials in its environment."""
        _say("  $ " + shlex.join(["bulkpresign", *arguments]))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "bulkpresign", *arguments],
            cwd=self._folder,
            env=environment | (self._server.environment if credentials else {}),
            stderr=subprocess.STDOUT,  # one stream, so that redirected output stays in order
            check=True,
        )


def _make_files(folder: Path) -> list[str]:
    """Creates files with realistic names and sizes, the same in every run."""
    names = []
    source = random.Random(_SEED)
    for n in range(OBJECTS):
        pattern, least, most = _KINDS[n % len(_KINDS)]
        month = source.randint(1, 12)
        name = pattern.format(
            n=n,
            year=source.randint(2024, 2026),
            month=month,
            quarter=(month + 2) // 3,
            day=source.randint(1, 28),
            hour=source.randint(0, 23),
            minute=source.randint(0, 59),
            camera=source.randint(1, 9),
        )
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source.randbytes(source.randint(least, most)))
        names.append(name)
    return sorted(set(names))


def make_bucket(server: EmbeddedServer, bucket: str) -> None:
    """Creates a bucket on the embedded server with a link."""
    opener = build_opener(ProxyHandler({}))  # ignores the proxies of the environment: the server is local
    with opener.open(Request(server.presigned("PUT", f"/{bucket}"), method="PUT")):  # noqa: S310
        pass


def _same(one: Path, other: Path, names: list[str]) -> int:
    matching, _, _ = filecmp.cmpfiles(one, other, names, shallow=False)
    return len(matching)


def _wait(server: EmbeddedServer, folder: Path) -> None:
    _say(f"\nThe server keeps running, with the tour's files in {folder}. For your own experiments:")
    for name, value in server.environment.items():
        _say(f"  export {name}={value}")
    _say(f"  bulkpresign sign s3://{BUCKET}/2026/ -o links.csv")
    _say("Any link opens with curl or in a browser, such as this one, for an hour:")
    _say(f"  curl -O '{_example_link(folder / 'links.csv')}'")
    _say("Ctrl-C stops the server and removes everything.")
    with suppress(KeyboardInterrupt):
        signal.pause()


def _example_link(manifest: Path) -> str:
    with manifest.open(newline="") as stream:
        return next(row["url"] for row in csv.DictReader(stream) if "/events/" in row["url"])


def _terminated(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the output of the tour
