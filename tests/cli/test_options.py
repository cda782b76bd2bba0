"""Concurrency, circuit breaker and other options of a run, on the command line."""

import csv
import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.runs import get, refused
from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, run
from tests.support.folders import files
from tests.support.links import links, many

SLOW_DOWN = Fault(503, {"Retry-After": "1"}, b"<Error><Code>SlowDown</Code></Error>")
LAST_MODIFIED = {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy(answer_headers=LAST_MODIFIED) as proxy:
        proxy.objects = {f"/{n}": f"object {n}".encode() for n in range(40)}
        yield proxy


def failures(folder: Path) -> list[dict[str, str]]:
    with (folder / "f.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_throttled_run_is_slowed_and_all_arrives(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 40))
    origin.faults.extend([SLOW_DOWN] * 4)
    began = time.monotonic()
    said = get(tmp_path, "l.csv", "--to", "to", "--concurrency", "16", code=0)
    assert time.monotonic() - began >= 1
    assert said.startswith("get: 40 done, 4 retries;")
    assert re.search(r"; slowed \d+ times? by the server\n\Z", said)
    assert len(files(tmp_path / "to")) == 40


def test_a_run_that_nobody_slows_says_nothing_of_it(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 4))
    origin.faults.append(Fault(500))
    assert "slowed" not in get(tmp_path, "l.csv", "--to", "to", code=0)


@pytest.mark.parametrize("verb", ["get", "put"])
def test_bytes_a_second_are_limited_over_the_whole_run(verb: str, origin: FaultProxy, tmp_path: Path) -> None:
    origin.objects = {f"/{n}": bytes(100_000) for n in range(8)}
    links(tmp_path / "l.csv", many(origin, 8, method=verb.upper()))
    (tmp_path / "from/d").mkdir(parents=True)
    for n in range(8):
        (tmp_path / f"from/d/{n}").write_bytes(bytes(100_000))
    where = ("--to", "to") if verb == "get" else ("--from", "from")
    began = time.monotonic()
    done = run(verb, "l.csv", *where, "--limit-rate", "400KB", folder=tmp_path, env={})
    assert done.returncode == 0, done.stderr
    assert f"{verb}: 8 done;" in done.stderr
    assert time.monotonic() - began >= 800_000 / 400_000 - 1  # a second's worth may come at once


@pytest.mark.parametrize(
    ("host", "words"), [("127.0.0.1:1", "no connection to 127.0.0.1:1"), ("no.such.host.invalid", "no such host")]
)
def test_a_server_that_is_not_there_ends_the_run(host: str, words: str, origin: FaultProxy, tmp_path: Path) -> None:
    rows = [{"url": f"http://{host}/{n}?X-Amz-Signature=secret", "path": f"{n}"} for n in range(500)]
    links(tmp_path / "l.csv", rows)
    began = time.monotonic()
    said = get(tmp_path, "l.csv", "--to", "to", "--failures", "f.csv", "--attempts", "2", code=1)
    assert time.monotonic() - began < 15
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: stopped: the last 50 objects all failed with ")
    assert words in line
    assert len([line for line in said.splitlines() if line.startswith("failed: ")]) == 1  # it tells them all
    left = failures(tmp_path)
    assert sorted(int(row["path"]) for row in left) == list(range(500))
    assert 50 <= sum(words in row["reason"] for row in left) < 150
    assert all(words in row["reason"] or row["reason"].startswith("Interrupted: ") for row in left)


def test_wrong_credentials_end_the_run(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    bucket = make_bucket(seaweedfs)
    (tmp_path / "keys.csv").write_text("bucket,key\n" + "".join(f"{bucket},{n}\n" for n in range(500)))
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        env = seaweedfs.environment | {"AWS_SECRET_ACCESS_KEY": "wrong", "AWS_ENDPOINT_URL": proxy.url}
        arguments = ("get", "keys.csv", "--to", "to", "--failures", "f.csv", "--concurrency", "8")
        done = run(*arguments, folder=tmp_path, env=env)
        assert done.returncode == 1
        assert done.stderr.count("error: stopped: the last 50 objects all failed with SignatureDoesNotMatch: ") == 1
        assert "SignatureDoesNotMatch" in done.stderr
        assert 50 <= proxy.count <= 58
    assert {row["key"] for row in failures(tmp_path)} == {f"{n}" for n in range(500)}


def test_what_is_missing_does_not_end_the_run(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 200))
    origin.objects = {"/199": b"x"}
    assert "get: 1 done, 199 failed;" in get(tmp_path, "l.csv", "--to", "to", code=1)
    assert origin.count == 200


@pytest.fixture
def there(origin: FaultProxy, tmp_path: Path) -> Path:
    """A folder where `d/0` is as on the server, and `d/1` is another."""
    links(tmp_path / "l.csv", many(origin, 3))
    (tmp_path / "to/d").mkdir(parents=True)
    (tmp_path / "to/d/0").write_text("object 0")
    (tmp_path / "to/d/1").write_text("mine")
    return tmp_path


def test_a_file_that_differs_is_replaced(there: Path) -> None:
    assert "2 done, 1 skipped" in get(there, "l.csv", "--to", "to", code=0)
    assert (there / "to/d/1").read_text() == "object 1"


def test_a_file_that_differs_is_kept(origin: FaultProxy, there: Path) -> None:
    """And another run may be told otherwise."""
    assert "1 done, 2 skipped" in get(there, "l.csv", "--to", "to", "--if-exists", "keep", code=0)
    assert (there / "to/d/1").read_text() == "mine"
    assert origin.count == 1
    assert "1 done, 2 skipped" in get(there, "l.csv", "--to", "to", "--if-exists", "replace", code=0)
    assert (there / "to/d/1").read_text() == "object 1"


def test_a_file_that_differs_is_an_error(there: Path) -> None:
    said = get(there, "l.csv", "--to", "to", "--if-exists", "fail", "--failures", "f.csv", code=1)
    assert "failed: d/1: another file of that name is there" in said
    assert "1 done, 1 skipped, 1 failed" in said
    assert (there / "to/d/1").read_text() == "mine"
    assert [row["reason"] for row in failures(there)] == ["FileExists: another file of that name is there"]
    assert not [name for name in files(there / "to") if name.endswith(".part")]


def test_what_if_exists_cannot_be(origin: FaultProxy, there: Path) -> None:
    said = refused(there, "l.csv", "--to", "to", "--if-exists", "ask")
    assert said == "error: if_exists 'ask' is not one of replace, keep, fail\n"
    assert origin.count == 0


def test_files_are_as_old_as_their_objects(origin: FaultProxy, there: Path) -> None:
    get(there, "l.csv", "--to", "to", code=0)
    expected = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()
    assert {(there / f"to/d/{n}").stat().st_mtime for n in (1, 2)} == {expected}
    origin.seen.clear()
    get(there, "l.csv", "--to", "to", code=0)
    assert origin.count == 0


def test_a_trial_of_a_few(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 40))
    assert "get: 3 done;" in get(tmp_path, "l.csv", "--to", "to", "--limit", "3", "--failures", "f.csv", code=0)
    assert origin.count == len(files(tmp_path / "to")) == 3
    assert failures(tmp_path) == []
    assert "get: 4 done, 3 skipped;" in get(tmp_path, "l.csv", "--to", "to", "--limit", "4", code=0)
    assert origin.count == 7
    for wrong in ("0", "-1", "x"):
        refused(tmp_path, "l.csv", "--to", "to", "--limit", wrong)


def test_a_dry_run_counts_and_leaves_nothing(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 10, size="8"))
    before = files(tmp_path)
    said = get(tmp_path, "l.csv", "--to", "new/to", "--dry-run", "--failures", "f.csv", code=0)
    assert said == "get: 10 to do, 0 done before; 80 B\n"
    assert files(tmp_path) == before
    assert not (tmp_path / "new").exists()
    assert origin.count == 0
    get(tmp_path, "l.csv", "--to", "to", "--limit", "4", code=0)
    assert get(tmp_path, "l.csv", "--to", "to", "--dry-run", code=0) == "get: 6 to do, 4 done before; 48 B\n"
    said = get(tmp_path, "l.csv", "--to", "to", "--dry-run", "--limit", "2", code=0)
    assert said == "get: 2 to do, 4 done before; 16 B\n"
    assert origin.count == 4
    (tmp_path / "bad.csv").write_text("url\nftp://x\n")
    assert "bad.csv:2: column url" in refused(tmp_path, "bad.csv", "--to", "to", "--dry-run")


def test_a_dry_run_of_a_listing_and_of_uploads(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    bucket = make_bucket(seaweedfs)
    for n in range(3):
        boto(seaweedfs).put_object(Bucket=bucket, Key=f"p/{n}", Body=b"xx")
    (tmp_path / "from").mkdir()
    (tmp_path / "from/a").write_text("abc")
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        env = {**seaweedfs.environment, "AWS_ENDPOINT_URL": proxy.url}
        done = run("get", f"s3://{bucket}/p/", "--to", "to", "--dry-run", folder=tmp_path, env=env)
        assert (done.returncode, done.stderr) == (0, "get: 3 to do, 0 done before; 6 B\n")
        assert all("list-type=2" in seen.target for seen in proxy.seen)
        listings = proxy.count
        done = run("put", "from", f"s3://{bucket}/up/", "--dry-run", folder=tmp_path, env=env)
        assert (done.returncode, done.stderr) == (0, "put: 1 to do, 0 done before; 3 B\n")
        assert proxy.count == listings > 0
    assert {path.name for path in tmp_path.iterdir()} == {"from"}


def test_certificates_to_trust(certificate: tuple[Path, ssl.SSLContext], tmp_path: Path) -> None:
    bundle, context = certificate
    with FaultProxy(tls=context) as origin:
        origin.objects = {"/0": b"x"}
        links(tmp_path / "l.csv", many(origin, 1))
        said = get(tmp_path, "l.csv", "--to", "to", "--attempts", "1", code=1)
        assert "the certificate is not trusted: self" in said
        assert origin.count == 0
        get(tmp_path, "l.csv", "--to", "to", "--ca-bundle", str(bundle), code=0)
        for to, *more in (["to2"], ["to3", "--executor", "processes:1"]):
            by_environment = run(
                "get", "l.csv", "--to", to, *more, folder=tmp_path, env={"AWS_CA_BUNDLE": os.fspath(bundle)}
            )
            assert by_environment.returncode == 0, by_environment.stderr
        assert origin.count == 3


def test_certificates_to_trust_for_listings_too(
    certificate: tuple[Path, ssl.SSLContext], seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    bundle, context = certificate
    bucket = make_bucket(seaweedfs)
    boto(seaweedfs).put_object(Bucket=bucket, Key="k", Body=b"x")
    with FaultProxy(seaweedfs.endpoint_url, tls=context) as proxy:
        env = {**seaweedfs.environment, "AWS_ENDPOINT_URL": proxy.url}
        arguments = ("get", f"s3://{bucket}/", "--to", "to", "--ca-bundle", str(bundle))
        done = run(*arguments, folder=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "to") == {"k": b"x"}


@pytest.mark.parametrize("how", ["option", "environment"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_cannot_be(how: str, content: str | None, origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 1))
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    arguments = ["get", "l.csv", "--to", "to", *(["--ca-bundle", "ca.pem"] if how == "option" else [])]
    done = run(*arguments, folder=tmp_path, env={"AWS_CA_BUNDLE": "ca.pem"} if how == "environment" else {})
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "ca.pem" in done.stderr
    assert done.stderr.count("\n") == 1
    assert origin.count == 0
    assert not (tmp_path / "to").exists()


def test_more_files_are_open_than_a_shell_allows(origin: FaultProxy, tmp_path: Path) -> None:
    """`ulimit -n` is a soft limit: a run that needs more takes it."""
    origin.always = Fault(delay=0.5)
    origin.objects = {f"/{n}": b"x" for n in range(200)}
    links(tmp_path / "l.csv", many(origin, 200))
    command = ["bash", "-c", 'ulimit -S -n 64; exec "$@"', "-", *BULKPRESIGN, "get", "l.csv", "--to", "to"]
    done = subprocess.run([*command, "--concurrency", "150"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(files(tmp_path / "to")) == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("proxy", "shown"),
    [("127.0.0.1:1", "127.0.0.1:1"), ("me:hidden@127.0.0.1:1", "127.0.0.1:1"), ("no.such.invalid:3128", None)],
)
def test_a_proxy_that_is_not_there_ends_the_run_at_once(
    scheme: str, proxy: str, shown: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{scheme}_proxy", raising=False)
    rows = [{"url": f"{scheme}://s3.example.com/{n}?X-Amz-Signature=secret", "path": f"{n}"} for n in range(100)]
    links(tmp_path / "l.csv", rows)
    name = f"{scheme.upper()}_PROXY"
    words = ("get", "l.csv", "--to", "to", "--failures", "f.csv")
    done = run(*words, folder=tmp_path, env={name: f"http://{proxy}", "no_proxy": ""})
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: the proxy http://{shown or proxy} that {name} names can't be reached: ")
    assert errors[0].endswith(", so the run ends")
    assert "retries" not in done.stderr
    assert not re.search("secret|hidden", done.stderr)
    assert "hidden" not in (tmp_path / "f.csv").read_text()
    assert len(failures(tmp_path)) == 100


def test_a_proxy_that_wants_a_password_ends_the_run(
    origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    links(tmp_path / "l.csv", [{"url": f"http://s3.example.com/{n}", "path": f"{n}"} for n in range(100)])
    origin.always = Fault(407)
    done = run("get", "l.csv", "--to", "to", folder=tmp_path, env={"HTTP_PROXY": origin.url, "no_proxy": ""})
    assert done.returncode == 1
    words = f"error: the proxy {origin.url} that HTTP_PROXY names asks for a name and a password (407), so the run ends"
    assert words in done.stderr.splitlines()
