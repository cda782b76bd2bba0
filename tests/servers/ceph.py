"""Ceph RGW, the server that is strict about keys: stores `a//b`, `/a`, `./a`, `a/../b`, `a/` as they are.

One monitor, one OSD that keeps its data in memory, one gateway; no manager. Measured with 18.2 on Debian 13.
"""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bulkpresign.demo.daemon import HOST, Daemon, free_ports, wait_until
from bulkpresign.errors import DaemonEndedError
from tests.servers.server import MissingServerError, S3Server, environment, lets_us_in, new_server, start_in

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")

# - "none" within the cluster spares keyrings; the client's default mode, "secure", hangs with it.
# - Debian's default of "osd class dir" is relative: every bucket operation ends with EOPNOTSUPP (-95).
# - Without tcp_nodelay a GET on a kept-alive connection takes 47 ms.
# - The short paxos times and the few placement groups make the start 2 s instead of 12.
# - Now and then a client asks while the OSD boots, and asks again at its next tick: after 5 s by default.
CONFIG = """
[global]
fsid = {fsid}
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
crash dir = {folder}
mon host = v2:{host}:{mon_port}/0
public addr = {host}
ms bind msgr1 = false
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 2
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true

[mon]
mon data = {folder}/mon
mon initial members = a
mon cluster log to file = false
mon data avail crit = 1
paxos propose interval = 0.05
paxos min wait = 0.01

[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd class dir = {classes}
osd class load list = *
osd class default list = *

[client]
ms mon client mode = crc
objecter tick interval = 0.1
rgw frontends = beast endpoint={host}:{rgw_port} tcp_nodelay=1
rgw dns name = s3.localhost
rgw crypt require ssl = false
rgw enable gc threads = false
rgw enable lc threads = false
"""


@contextmanager
def start() -> Iterator[S3Server]:
    _require_programs()
    with ExitStack() as stack:
        yield start_in(stack, _start_once)


def _start_once(stack: ExitStack) -> S3Server:
    """A cluster in a folder of its own, for what a monitor has stored names its port."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ceph-")))
    mon_port, rgw_port = free_ports(2)
    server = new_server("ceph", rgw_port)
    cluster = _Cluster(folder, stack)
    cluster.configure(mon_port, rgw_port)
    cluster.start_monitor(mon_port)
    cluster.start_osd()
    cluster.create_user(server)
    cluster.start_gateway(server)
    return server


class _Cluster:
    """Its folder, and the daemons that are started so far, which `stack` ends."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.fsid = str(uuid.uuid4())
        self.env = environment(folder, CEPH_CONF=str(folder / "ceph.conf"))

    def configure(self, mon_port: int, rgw_port: int) -> None:
        classes = next(Path("/usr/lib").glob("*/rados-classes"))
        text = CONFIG.format(
            fsid=self.fsid,
            folder=self.folder,
            host=HOST,
            mon_port=mon_port,
            rgw_port=rgw_port,
            classes=classes,
        )
        (self.folder / "ceph.conf").write_text(text)
        for name in ("mon", "osd"):
            (self.folder / name).mkdir()

    def start_monitor(self, port: int) -> None:
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", f"[v2:{HOST}:{port}]", "monmap")
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        self.daemon("ceph-mon", "-i", "a")

    def start_osd(self) -> None:
        osd_uuid = str(uuid.uuid4())
        self.run("ceph", "--connect-timeout", "20", "osd", "new", osd_uuid)
        self.run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd_uuid)
        self.daemon("ceph-osd", "-i", "0")

    def create_user(self, server: S3Server) -> None:
        keys = ("--access-key", server.access_key, "--secret-key", server.secret_key)
        self.run("radosgw-admin", "user", "create", "--uid", "test", "--display-name", "test", *keys)

    def start_gateway(self, server: S3Server) -> None:
        gateway = self.daemon("radosgw", "-n", "client.rgw")
        wait_until(lambda: lets_us_in(server), gateway)

    def daemon(self, program: str, *options: str) -> Daemon:
        log = self.folder / f"{program}.out"
        started = Daemon([program, *options, "-f"], log=log, folder=self.folder, env=self.env)
        return self.stack.enter_context(started)

    def run(self, *command: str) -> None:
        """Run it to its end. Where one fails, a daemon is gone: the monitor, if its port was taken."""
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise DaemonEndedError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")


def _require_programs() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise MissingServerError(f"{', '.join(missing)}: apt-get install ceph-mon ceph-osd radosgw ceph-common")
    if os.geteuid() != 0:
        raise MissingServerError("Ceph's daemons are started as root only")
