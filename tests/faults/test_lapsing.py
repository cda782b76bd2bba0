"""Links and credentials of a few seconds, and a server that says that time is over when it is not."""

import json
import shlex
import stat
import sys
from pathlib import Path

import pytest

from tests.conftest import Boto
from tests.faults.conftest import MakeScene
from tests.faults.scene import Counts, download, everything
from tests.faults.schedule import ROUNDS
from tests.servers.server import S3Server

pytestmark = pytest.mark.timeout(240 * ROUNDS)

#: Prints credentials as an STS would, which are over after a few seconds.
PROGRAM = """
import datetime, json, pathlib
over = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
with pathlib.Path({asked!r}).open("a") as asked:
    asked.write("x")
print(json.dumps({keys} | {{"Expiration": over.isoformat()}}))
"""


@pytest.fixture
def lapsing(seaweedfs: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Credentials that come from a program. Gives the file that has a byte for each time it was asked."""
    asked, program, config = tmp_path / "asked", tmp_path / "credentials.py", tmp_path / "config"
    keys = {"Version": 1, "AccessKeyId": seaweedfs.access_key, "SecretAccessKey": seaweedfs.secret_key}
    program.write_text(PROGRAM.format(asked=str(asked), keys=json.dumps(keys)))
    program.chmod(stat.S_IRUSR)
    command = shlex.join([sys.executable, str(program)])
    config.write_text(f"[default]\nregion = us-east-1\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    return asked


def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a chain in which nothing comes before the program."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)


def test_get_with_links_and_credentials_of_seconds(
    make_scene: MakeScene, counts: Counts, lapsing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, bucket = make_scene("get", renews=True)
    without_keys(monkeypatch)
    slowly = ("--limit-rate", "6MiB", "--expires-in", "3")
    scene.finish([*scene.arguments(f"s3://{bucket}/", "--to", "data"), *slowly])
    assert scene.schedule.injected["expired"]
    assert lapsing.stat().st_size > 1
    counts.close(scene, everything(scene.data))


def test_put_with_links_and_credentials_of_seconds(
    make_scene: MakeScene,
    counts: Counts,
    lapsing: Path,
    monkeypatch: pytest.MonkeyPatch,
    boto: Boto,
    seaweedfs: S3Server,
) -> None:
    scene, bucket = make_scene("put", renews=True)
    without_keys(monkeypatch)
    slowly = ("--limit-rate", "6MiB", "--expires-in", "3")
    scene.finish([*scene.arguments("data", f"s3://{bucket}/"), *slowly])
    assert scene.schedule.injected["expired"]
    assert lapsing.stat().st_size > 1
    counts.close(scene, download(boto(seaweedfs), bucket))
