"""Folder markers in manifests: empty objects whose keys end in `/`, which have no files."""

from pathlib import Path

import pytest

from tests.conftest import Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.folders import files
from tests.support.tables import table


class Scene:
    """A bucket with two folder markers and an object under `p/`, and the command line in one folder."""

    def __init__(self, server: S3Server, client: object, bucket: str, folder: Path) -> None:
        self.bucket, self.folder, self._env = bucket, folder, server.environment
        for key, body in {"p/": b"", "p/d/": b"", "p/d/f": b"object"}.items():
            client.put_object(Bucket=bucket, Key=key, Body=body)  # type: ignore[attr-defined]

    def run(self, *arguments: str, code: int = 0) -> str:
        """Its standard error."""
        done = run(*arguments, folder=self.folder, env=self._env)
        assert done.returncode == code, done.stderr
        return done.stderr


@pytest.fixture
def scene(ceph: S3Server, boto: Boto, make_bucket: MakeBucket, tmp_path: Path) -> Scene:
    return Scene(ceph, boto(ceph), make_bucket(ceph), tmp_path)


@pytest.mark.parametrize("more", [(), ("--executor", "processes:1")], ids=["here", "in a process"])
def test_they_are_skipped_there_and_back(scene: Scene, more: tuple[str, ...]) -> None:
    scene.run("sign", f"s3://{scene.bucket}/p/", "-o", "l.csv")
    assert "get: 1 done, 2 skipped;" in scene.run("get", "l.csv", "--to", "to", *more)
    assert "get: 0 done, 3 skipped;" in scene.run("get", "l.csv", "--to", "to", *more)
    assert files(scene.folder / "to") == {"d/f": b"object"}
    assert "verify: 1 verified (1 by md5), 2 skipped;" in scene.run("verify", "l.csv", "--in", "to")
    scene.run("sign", "l.csv", "--method", "PUT", "-o", "p.csv")
    assert "put: 1 done, 2 skipped;" in scene.run("put", "p.csv", "--from", "to", *more)


def test_one_whose_row_names_a_file_is_an_object_like_others(scene: Scene) -> None:
    table(scene.folder / "k.csv", [{"bucket": scene.bucket, "key": "p/", "size": 0, "path": "empty"}])
    scene.run("sign", "k.csv", "-o", "l.csv")
    assert "get: 1 done;" in scene.run("get", "l.csv", "--to", "to")
    assert files(scene.folder / "to") == {"empty": b""}


def test_others_whose_keys_end_in_a_slash_are_refused(scene: Scene) -> None:
    table(scene.folder / "k.csv", [{"bucket": scene.bucket, "key": "p/d/", "size": 5}])
    assert "k.csv:2: column path: path 'p/d/' is refused" in scene.run("get", "k.csv", "--to", "to", code=2)
