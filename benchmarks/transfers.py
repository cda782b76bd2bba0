"""Many objects down (GET) or up (PUT) through links: the files, the tools that move them, and a run of each tool."""

import base64
import csv
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.measuring import MIB, Cost, on_core, run, size_text
from bulkpresign.checksums import hasher

CONCURRENCY = 64
BUCKET = "bench"
BY_MD5, BY_CRC, CURL = "ours by md5", "ours by crc64nvme", "curl -Z"
#: Ours with objects in place of links, which it signs just in time.
SIGNED = "ours, signed and md5"
#: Our two tables of links, and how the bytes of each are proven.
PROOFS = {BY_MD5: "md5", BY_CRC: "crc64nvme"}
OURS = (sys.executable, "-m", "bulkpresign")
_MANY = str(CONCURRENCY)
_ROOT = str(Path(__file__).parents[1])

Commands = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Server:
    """A running server: the variables by which AWS tools find it, its certificate, and its folder of objects.

    The last two are None where it speaks http, and where its objects are no files.
    """

    name: str
    environment: Mapping[str, str] = field(repr=False)
    certificate: Path | None = None
    objects: Path | None = None

    @property
    def host(self) -> str:
        """The host and port, as the header names them."""
        return urlsplit(self.environment["AWS_ENDPOINT_URL"]).netloc


@dataclass(frozen=True)
class Work:
    """`count` objects of `size` bytes, down (GET) or up (PUT)."""

    verb: str
    size: int
    count: int

    @property
    def title(self) -> str:
        return f"{self.verb} {self.count:,} x {size_text(self.size)}"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a tool: ours and these variables. Our modules are found in any folder."""
    return {**os.environ, **variables, "PYTHONPATH": _ROOT}


class Files:
    """The files of a work in `folder`/from, and two tables of objects: one has their md5, one their crc64nvme."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work = work
        self.folder = folder
        (folder / "from").mkdir()
        head = "bucket,key,size,path"
        with (folder / "md5.csv").open("w") as by_md5, (folder / "crc64nvme.csv").open("w") as by_crc:
            by_md5.write(f"{head},etag\n")
            by_crc.write(f"{head},checksum\n")
            for number in range(work.count):
                name = f"{number:07d}"
                md5, crc = self._write(folder / "from" / name)
                row = f"{BUCKET},{work.size}/{name},{work.size},{name}"
                by_md5.write(f"{row},{md5}\n")
                by_crc.write(f"{row},crc64nvme:{crc}\n")

    def etags(self) -> Iterator[tuple[str, str]]:
        """`/bucket/key` and md5 of each object."""
        for row in _rows(self.folder / "md5.csv"):
            yield f"/{row['bucket']}/{row['key']}", row["etag"]

    def upload(self, server: Server) -> None:
        """Uploads the files to a server that speaks http, so that they can be downloaded."""
        variables = environment(server.environment)
        run([*OURS, "sign", "md5.csv", "--method", "PUT", "-o", "upload.csv"], variables, self.folder)
        run([*OURS, "put", "upload.csv", "--from", "from"], variables, self.folder)

    def _write(self, file: Path) -> tuple[str, str]:
        """Fills a file with random bytes. Returns md5 and crc64nvme as manifests have them."""
        md5, crc = hashlib.md5(), hasher("crc64nvme")
        with file.open("wb") as stream:
            for at in range(0, self.work.size, MIB):
                block = os.urandom(min(MIB, self.work.size - at))
                stream.write(block)
                md5.update(block)
                crc.update(block)
        return md5.hexdigest(), base64.b64encode(crc.digest()).decode()


class Transfer:
    """A work at a server, with links and the commands of all tools that are installed."""

    def __init__(self, files: Files, server: Server, others: Commands | None = None) -> None:
        """`others` are commands of more tools. The links of the work are in links-md5.csv and links-crc64nvme.csv."""
        self.work = files.work
        self.server = server
        self._folder = files.folder
        self._environment = environment(server.environment)
        for proof in PROOFS.values():
            sign = [*OURS, "sign", f"{proof}.csv", "--method", self.work.verb, "-o", f"links-{proof}.csv"]
            run(sign, self._environment, self._folder)
        self._write_lists()
        commands = {**self._our_commands(), **self._peers(), **(others or {})}
        self.commands = {name: command for name, command in commands.items() if shutil.which(command[0])}

    def run(self, name: str, *, again: bool = False) -> Cost:
        """One run of a tool on the last core, from nothing, or `again` after one. Raises SystemExit where it fails."""
        if not again:
            self._clear()
        with on_core(-1):
            cost = run(self.commands[name], self._environment, self._folder)
        self._check(name)
        return cost

    def _trust(self, option: str) -> list[str]:
        return [option, str(self.server.certificate)] if self.server.certificate else []

    def _our_commands(self) -> dict[str, Sequence[str]]:
        folder = ["--to", "to"] if self.work.verb == "GET" else ["--from", "from"]
        options = ["--concurrency", _MANY, "--journal", "run.journal", *self._trust("--ca-bundle")]
        command = [*OURS, self.work.verb.lower(), *folder, *options]
        commands: dict[str, Sequence[str]]
        commands = {name: [*command, f"links-{proof}.csv"] for name, proof in PROOFS.items()}
        if self.work.verb == "GET":
            commands[SIGNED] = [*command, "md5.csv"]
        return commands

    def _peers(self) -> dict[str, Sequence[str]]:
        curl = ["curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", _MANY]
        peers: dict[str, Sequence[str]] = {CURL: [*curl, *self._trust("--cacert"), "--config", "curl.txt"]}
        if self.work.verb == "GET":
            peers |= {"wget2": self._wget2(), "aria2": self._aria2()}
        return peers

    def _wget2(self) -> list[str]:
        names = ["--directory-prefix", "to", "--no-directories", "--cut-file-get-vars"]
        host = ["--header", f"Host: {self.server.host}"]  # it leaves out the port, for which a link is signed
        options = ["--quiet", "--no-config", "--no-hsts", "--max-threads", _MANY, *self._trust("--ca-certificate")]
        return ["wget2", *options, *names, *host, "--input-file", "wget2.txt"]

    def _aria2(self) -> list[str]:
        many = ["--max-concurrent-downloads", _MANY, "--file-allocation", "none"]
        options = ["--quiet", "--no-conf", *many, *self._trust("--ca-certificate")]
        return ["aria2c", *options, "--dir", "to", "--input-file", "aria2.txt"]

    def _write_lists(self) -> None:
        """The links as curl, wget2 and aria2 read them."""
        line = 'url = "{url}"\noutput = "to/{path}"\n'
        if self.work.verb == "PUT":
            line = 'url = "{url}"\nupload-file = "from/{path}"\n'
        lists = {"curl.txt": line, "wget2.txt": "{url}\n", "aria2.txt": "{url}\n  out={path}\n"}
        for name, text in lists.items():
            with (self._folder / name).open("w") as stream:
                stream.writelines(text.format(**row) for row in _rows(self._folder / "links-md5.csv"))

    @cached_property
    def _target(self) -> Path:
        """The folder in which the objects of a run arrive. For PUT, not every server has one."""
        if self.work.verb == "GET" or self.server.objects is None:
            return self._folder / "to"
        return self.server.objects / BUCKET / str(self.work.size)

    def _clear(self) -> None:
        shutil.rmtree(self._target, ignore_errors=True)
        self._target.mkdir(parents=True)
        for journal in self._folder.glob("*.journal*"):
            journal.unlink()

    def _check(self, name: str) -> None:
        if self.work.verb == "PUT" and self.server.objects is None:
            return
        found = sum(file.stat().st_size == self.work.size for file in os.scandir(self._target))
        if found != self.work.count:
            raise SystemExit(f"{name} moved {found:,} objects of {self.work.title}, {self.server.name}")


def _rows(table: Path) -> Iterator[dict[str, str]]:
    with table.open(newline="") as stream:
        yield from csv.DictReader(stream)
