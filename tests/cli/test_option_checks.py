"""Options that do not apply are errors with their names, before any request."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.proxy import FaultProxy
from tests.support.cli import run
from tests.support.links import links, many


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {"/0": b"x"}
        yield proxy


@pytest.fixture
def folder(origin: FaultProxy, tmp_path: Path) -> Path:
    links(tmp_path / "get.csv", many(origin, 1))
    links(tmp_path / "put.csv", many(origin, 1, method="PUT", path="a"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("x")
    return tmp_path


PUT_LINKS = ["put", "put.csv", "--from", "in"]
PUT_FOLDER = ["put", "in", "s3://bucket/prefix/"]
GET_LINKS = ["get", "get.csv", "--to", "to"]
GET_LISTED = ["get", "s3://bucket/prefix/", "--to", "to"]


@pytest.mark.parametrize(
    ("words", "option", "value"),
    [
        (PUT_LINKS, "--content-type", "text/csv"),
        (PUT_LINKS, "--header", "x-amz-meta-a: b"),
        (PUT_LINKS, "--part-size", "5MiB"),
        *((PUT_LINKS, option, value) for option, value in (("--region", "eu-west-1"), ("--expires-in", "1h"))),
        (PUT_FOLDER, "--renew-credentials", None),
        (PUT_FOLDER, "--renew-command", "cat"),
        (PUT_FOLDER, "--renew-url", "http://127.0.0.1:1"),
        (PUT_FOLDER, "--from-format", "csv"),
        *(
            (GET_LINKS, option, value)
            for option, value in (
                ("--region", "eu-west-1"),
                ("--endpoint-url", "http://127.0.0.1:1"),
                ("--profile", "p"),
                ("--addressing-style", "path"),
                ("--expires-in", "1h"),
            )
        ),
        (GET_LISTED, "--renew-credentials", None),
        (GET_LISTED, "--from-format", "csv"),
        (GET_LISTED, "--bucket", "b"),
        (["abort", "put.csv"], "--profile", "p"),
        (["abort", "s3://bucket/"], "--from-format", "csv"),
    ],
)
def test_refused(words: list[str], option: str, value: str | None, origin: FaultProxy, folder: Path) -> None:
    done = run(*words, option, *([] if value is None else [value]), folder=folder)
    assert done.returncode == 2, done.stderr
    assert f"Error: {option} is only for " in done.stderr
    assert "secret" not in done.stderr
    assert origin.count == 0


def test_several_are_named_together(folder: Path) -> None:
    done = run(*PUT_LINKS, "--content-type", "a/b", "--header", "c: d", folder=folder)
    assert "Error: --content-type and --header are only for links that are signed here" in done.stderr


def test_what_is_used_is_taken(origin: FaultProxy, folder: Path) -> None:
    """Own credentials renew, so that their options count; a table of objects is signed; a stream may be either."""
    assert run(*GET_LINKS, "--renew-credentials", "--region", "eu-west-1", folder=folder).returncode == 0
    given = (folder / "get.csv").read_text()
    streamed = run("get", "-", "--to", "to2", "--region", "eu-west-1", folder=folder, given=given)
    assert streamed.returncode == 0, streamed.stderr
    (folder / "keys.csv").write_text("bucket,key\nbkt,0\n")
    words = ("get", "keys.csv", "--to", "to3", "--endpoint-url", origin.url, "--region", "x", "--dry-run")
    assert run(*words, folder=folder).returncode == 0
