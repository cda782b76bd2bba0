"""Servers for every test that asks for one, each started once; and no test sees the caller's AWS settings.

A server that isn't installed skips its tests, except where `CI` is set: there it is an error.
"""

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.faults.closing import pytest_terminal_summary
from tests.servers import ceph as ceph_servers
from tests.servers import ministack as ministack_servers
from tests.servers import rclone as rclone_servers
from tests.servers import seaweedfs as seaweedfs_servers
from tests.servers.server import MissingServerError, S3Server, new_client
from tests.support.disks import mounted
from tests.units import mark_units, sort_files

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["pytest_terminal_summary"]  # the fault suite's closing line, which the process that reports has to know

MakeBucket = Callable[[S3Server], str]
Boto = Callable[[S3Server], Any]
AwsEnv = Callable[[S3Server], None]

SAFE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

hypothesis.settings.register_profile("suite", deadline=None)  # a loaded machine is no failure
hypothesis.settings.load_profile("suite")

# Under nohup SIGHUP is ignored, also by what the tests start; a handler is not passed on to a new program.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the unit tests before `-m` selects, and gives the order in which workers take files."""
    mark_units(items)
    sort_files(items)


def pytest_xdist_auto_num_workers() -> int:
    """Three workers for two cores, because tests wait for servers and processes half of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return -(-cores * 3 // 2)


@pytest.fixture(scope="session", autouse=True)
def _no_aws_in_session() -> Iterator[None]:
    """For fixtures of the session, which are made before any test's own."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _set_aws(monkeypatch, {})
        yield


@pytest.fixture(autouse=True)
def _no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every test, whatever the test before it has set."""
    _set_aws(monkeypatch, {})


@pytest.fixture
def aws_env(monkeypatch: pytest.MonkeyPatch) -> AwsEnv:
    """`aws_env(server)`: the AWS chain finds this server and its user, and nothing else."""
    return lambda server: _set_aws(monkeypatch, server.environment)


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[S3Server]:
    """The embedded server; checks checksums and POST policies."""
    with _started(seaweedfs_servers.start()) as server:
        yield server


@pytest.fixture(scope="session")
def ceph() -> Iterator[S3Server]:
    """The strict one for keys."""
    with _started(ceph_servers.start()) as server:
        yield server


@pytest.fixture(scope="session")
def rclone() -> Iterator[S3Server]:
    """The weak one: no ranges, no conditions."""
    with _started(rclone_servers.start()) as server:
        yield server


@pytest.fixture(scope="session")
def ministack() -> Iterator[S3Server]:
    """The one with regions, STS and IAM."""
    with _started(ministack_servers.start()) as server:
        yield server


@pytest.fixture(params=["seaweedfs", "ceph", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the three that objects are stored in, one after another."""
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def boto() -> Iterator[Boto]:
    """`boto(server)`: a boto3 client, one for each server."""
    with ExitStack() as stack:

        @cache
        def client(server: S3Server) -> Any:
            made = new_client(server)
            stack.callback(made.close)
            return made

        yield client


@pytest.fixture
def make_bucket(boto: Boto) -> MakeBucket:
    """`make_bucket(server)`: a new, empty bucket's name. It ends with its server."""

    def make(server: S3Server) -> str:
        name = f"test-{uuid.uuid4().hex[:16]}"
        boto(server).create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture
def bucket(server: S3Server, make_bucket: MakeBucket) -> str:
    """A new, empty bucket on `server`."""
    return make_bucket(server)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    with mounted(tmp_path, "64k") as disk:
        yield disk


@pytest.fixture
def browser(tmp_path: Path) -> Iterator["Chrome"]:
    """Chromium, without a window."""
    from selenium import webdriver  # takes long to import, and most tests do without

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def _started(starting: AbstractContextManager[S3Server]) -> Iterator[S3Server]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(starting)
        except MissingServerError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        yield server


def _set_aws(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (SAFE | variables).items():
        monkeypatch.setenv(name, value)
