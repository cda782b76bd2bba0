"""`sign -o urls.txt`: a list of urls, which other tools read."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.folders import files

#: Objects by the last segments of their keys, which are the names that other tools give to files.
OBJECTS = {
    name: name.encode()
    for name in ("a b+c.txt", "what?x=1&y#z", "é 한글 😀.bin", "q\"uo'te;", "1.2E+10", "=1+1", "sp ")
}


@pytest.fixture
def lists(seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket, tmp_path: Path) -> Path:
    """A folder with `urls.txt` and `urls.txt.gz`."""
    bucket = make_bucket(seaweedfs)
    for number, (name, body) in enumerate(OBJECTS.items()):
        boto(seaweedfs).put_object(Bucket=bucket, Key=f"d/{number}/{name}", Body=body)
    for output in ("urls.txt", "urls.txt.gz"):
        settings = ["--filename", "{name}", "-o", output]
        done = run("sign", f"s3://{bucket}/d/", *settings, folder=tmp_path, env=seaweedfs.environment)
        assert (done.returncode, done.stderr) == (0, f"sign: {len(OBJECTS)} links in {output}\n")
    assert (tmp_path / "urls.txt").stat().st_mode & 0o777 == 0o600
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["wget", "--quiet", "--content-disposition", "--directory-prefix", "to", "--input-file", "urls.txt"],
        ["aria2c", "--quiet", "--dir", "to", "--input-file", "urls.txt"],
    ],
    ids=lambda command: command[0],
)
def test_other_tools_download_a_list(command: list[str], lists: Path) -> None:
    subprocess.run(command, cwd=lists, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, check=True, timeout=60)
    assert files(lists / "to") == OBJECTS


@pytest.mark.parametrize("file", ["urls.txt", "urls.txt.gz"])
def test_our_own_get_takes_it(file: str, lists: Path) -> None:
    assert run("get", file, "--to", "to", folder=lists, env={}).returncode == 0
    assert sorted(files(lists / "to").values()) == sorted(OBJECTS.values())


def test_links_that_are_more_than_a_url_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    put = run("sign", "s3://b-1/k", "--method", "PUT", "-o", "links.csv", folder=tmp_path)
    assert put.returncode == 0
    again = run("sign", "links.csv", "-o", "urls.txt", folder=tmp_path)
    assert again.returncode == 2
    assert again.stderr == (
        "error: k: a list of urls can't hold this link, because its method is PUT. Write .csv or .jsonl\n"
    )
    assert not (tmp_path / "urls.txt").exists()
