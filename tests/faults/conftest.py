"""Scenes for the fault suite, and its closing line."""

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.faults.closing import PROPERTY
from tests.faults.scene import Counts, Scene, contents, upload, write
from tests.faults.schedule import Schedule
from tests.servers.proxy import FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import run

#: Makes a scene of a verb in a new folder and bucket, and gives it with the bucket's name.
MakeScene = Callable[..., tuple[Scene, str]]


_COUNTS = pytest.StashKey[Counts]()


@pytest.fixture
def counts(request: pytest.FixtureRequest) -> Counts:
    """The faults of this test; they are counted at the end of the suite."""
    made: Counts = request.node.stash.setdefault(_COUNTS, Counts())
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hangs the counts on the report, which is made as soon as the test is over."""
    found = item.stash.get(_COUNTS, None)
    if call.when == "call" and found is not None:
        item.user_properties.append((PROPERTY, found.json(passed=call.excinfo is None)))
    return (yield)


@pytest.fixture
def proxy(seaweedfs: S3Server, aws_env: AwsEnv, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """The proxy in front of SeaweedFS, which is the server of the environment."""
    aws_env(seaweedfs)
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def make_scene(
    proxy: FaultProxy,
    seaweedfs: S3Server,
    make_bucket: MakeBucket,
    boto: Boto,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> MakeScene:
    """`make_scene("get", links=True)`: objects in a bucket, or files for it, and `links.csv`."""

    def make(
        verb: str,
        name: str = "scene",
        *,
        disk: Path | None = None,
        renews: bool = False,
        more: Sequence[str] = (),
        **rates: float,
    ) -> tuple[Scene, str]:
        schedule = Schedule(f"{request.node.name} {name}", renews=renews, **rates)
        folder = tmp_path / name
        folder.mkdir()
        bucket = make_bucket(seaweedfs)
        scene = Scene(verb, folder, proxy, schedule, contents(schedule.rng), disk, more=more)
        proxy.schedule = lambda _: None
        if verb == "get":
            upload(boto(seaweedfs), bucket, scene.objects)
            source = f"s3://{bucket}/"
        else:
            write(scene.data, scene.objects)
            keys = [f"{bucket},{key}" for key in scene.objects]
            (folder / "keys.csv").write_text("\n".join(["bucket,key", *keys, ""]))
            source = "keys.csv"
        sign(folder, source, verb.upper())
        proxy.schedule = schedule
        return scene, bucket

    return make


def sign(folder: Path, source: str, method: str) -> None:
    done = run("sign", source, "-o", "links.csv", "--method", method, folder=folder, env={})
    assert done.returncode == 0, done.stderr
