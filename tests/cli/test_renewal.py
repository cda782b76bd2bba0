"""Runs that are longer than the lifetime of their links: requests for fresh links, their number and order."""

import csv
import json
import shlex
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from bulkpresign.transfer.engine.renewal import MAX_RENEWALS
from tests.cli.runs import get, refused
from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen, expired
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.dates import date_in
from tests.support.folders import files
from tests.support.links import OVER, links, many

EXPIRED = expired()

#: Why one without a fresh link is expired: by its time, or by the server's word where that was first.
NOT_RENEWED = ("LinkExpired: ", "AccessDenied: the link ended at")

#: Gives each row a url that tells that it is fresh; writes down how many it was asked for at once.
RENEW = """
import json, sys
rows = [json.loads(line) for line in sys.stdin]
open("asked", "a").write(f"{len(rows)}\\n")
for row in rows:
    row["url"] = row["url"].partition("?")[0] + "?X-Amz-Signature=fresh-secret"
    print(json.dumps(row | {"expires_at": "2099-01-01T00:00:00Z"}))
"""

#: Prints credentials that expire in 20 s, and writes down that it was asked.
SHORT_LIVED = """
import datetime, json
open({asked!r}, "a").write("1\\n")
over = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=20)
print(json.dumps({keys} | {{"Expiration": over.isoformat()}}))
"""


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {f"/{n}": f"object {n}".encode() for n in range(200)}
        yield proxy


@pytest.fixture
def renew(tmp_path: Path) -> Callable[[str], str]:
    """`renew(more)`: a command that renews, with more code before it prints."""

    def command(more: str = "") -> str:
        (tmp_path / "renew.py").write_text(RENEW.replace("for row in rows", f"{more}\nfor row in rows"))
        return f"{shlex.quote(sys.executable)} renew.py"

    return command


def unless_fresh(*numbers: int) -> Callable[[Seen], Fault | None]:
    """Refuses links that are over, of all objects or of some, as every server does.

    The first of them are sent, where no answer was before them to tell the time.
    """

    def schedule(seen: Seen) -> Fault | None:
        path, _, query = seen.target.partition("?")
        is_over = "fresh" not in query and (not numbers or int(path[1:]) in numbers)
        return EXPIRED if is_over else None

    return schedule


def asked(folder: Path) -> list[int]:
    file = folder / "asked"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def targets(origin: FaultProxy) -> list[str]:
    return [seen.target for seen in origin.seen]


class Signed:
    """Keys of a real server, and links for them that are over."""

    def __init__(self, server: S3Server, folder: Path, bucket: str, *options: str) -> None:
        self.folder, self.env, self.bucket = folder, server.environment, bucket
        (folder / "keys.csv").write_text(f"bucket,key,path\n{bucket},a b,x/a\n{bucket},c,c\n")
        self.run("sign", "keys.csv", "-o", "l.csv", "--expires-in", "1", *options)
        time.sleep(1)

    def run(self, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        done = run(*arguments, folder=self.folder, env=self.env if env is None else env)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "X-Amz-Signature" not in done.stderr
        return done.stderr


def test_links_are_signed_again_only_when_asked(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    """And what nobody renewed is a manifest that `sign` takes."""
    bucket = make_bucket(seaweedfs)
    for key in ("a b", "c"):
        boto(seaweedfs).put_object(Bucket=bucket, Key=key, Body=key.encode())
    signed = Signed(seaweedfs, tmp_path, bucket)
    said = signed.run("get", "l.csv", "--to", "to", "--failures", "f.csv", code=3)
    assert f"expired: s3://{bucket}/a b: the link ended at 20" in said
    assert "get: 0 done, 2 expired;" in said
    assert files(tmp_path / "to") == {}
    signed.run("sign", "f.csv", "-o", "fresh.csv")
    assert "get: 2 done;" in signed.run("get", "fresh.csv", "--to", "to", env={})
    assert files(tmp_path / "to") == {"x/a": b"a b", "c": b"c"}
    assert "get: 2 done;" in signed.run("get", "l.csv", "--to", "other", "--renew-credentials")
    assert files(tmp_path / "other") == files(tmp_path / "to")
    command = f"{shlex.quote(sys.executable)} -m bulkpresign sign - --from-format jsonl --format jsonl"
    assert "get: 2 done;" in signed.run("get", "l.csv", "--to", "third", "--renew-command", command)
    assert files(tmp_path / "third") == files(tmp_path / "to")
    no_keys = {"AWS_ENDPOINT_URL": seaweedfs.endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}
    said = signed.run("get", "l.csv", "--to", "fourth", "--renew-credentials", env=no_keys, code=2)
    assert said.startswith("error: ")
    assert not (tmp_path / "fourth").exists()


@pytest.mark.parametrize("verb", ["get", "put"])
def test_credentials_of_seconds_are_rarely_asked_for_and_every_link_is_sent(
    verb: str, seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    """Every link has less time left than the margin of its hour, from the beginning; a fresh one has no more."""
    bucket, s3 = make_bucket(seaweedfs), boto(seaweedfs)
    (tmp_path / "data").mkdir()
    for n in range(40):
        (tmp_path / f"data/{n}").write_text(f"object {n}")
        if verb == "get":
            s3.put_object(Bucket=bucket, Key=f"{n}", Body=f"object {n}".encode())
    keys = {"Version": 1, "AccessKeyId": seaweedfs.access_key, "SecretAccessKey": seaweedfs.secret_key}
    (tmp_path / "keys.py").write_text(SHORT_LIVED.format(asked=str(tmp_path / "asked"), keys=json.dumps(keys)))
    command = shlex.join([sys.executable, str(tmp_path / "keys.py")])
    (tmp_path / "config").write_text(f"[default]\nregion = us-east-1\ncredential_process = {command}\n")
    env = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_ENDPOINT_URL": seaweedfs.endpoint_url}
    where = (f"s3://{bucket}/", "--to", "to") if verb == "get" else ("data", f"s3://{bucket}/")
    done = run(verb, *where, "--concurrency", "2", folder=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert f"{verb}: 40 done;" in done.stderr
    assert len(asked(tmp_path)) < 10


def test_an_upload_is_signed_again_with_its_headers(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    bucket = make_bucket(seaweedfs)
    options = ("--method", "PUT", "--content-type", "text/x", "--header", "x-amz-meta-note: n")
    signed = Signed(seaweedfs, tmp_path, bucket, *options)
    (tmp_path / "from/x").mkdir(parents=True)
    (tmp_path / "from/x/a").write_text("A")
    (tmp_path / "from/c").write_text("C")
    assert "put: 2 done;" in signed.run("put", "l.csv", "--from", "from", "--renew-credentials")
    head = boto(seaweedfs).head_object(Bucket=bucket, Key="a b")
    assert (head["ContentType"], head["Metadata"], head["ContentLength"]) == ("text/x", {"note": "n"}, 1)


def test_many_lapsed_links_are_few_processes(origin: FaultProxy, renew: Callable[[str], str], tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 200, expires_at=OVER))
    get(tmp_path, "l.csv", "--to", "to", "--renew-command", renew(""), "--concurrency", "16", code=0)
    assert sum(asked(tmp_path)) == 200
    assert len(asked(tmp_path)) <= 3
    assert len(files(tmp_path / "to")) == 200
    assert set(targets(origin)) == {f"/{n}?X-Amz-Signature=fresh-secret" for n in range(200)}


def test_many_copies_whose_links_are_over_are_few_processes(
    origin: FaultProxy, renew: Callable[[str], str], tmp_path: Path
) -> None:
    """The links of both sides are renewed while their copies wait."""
    query = "X-Amz-Signature=secret&X-Amz-Date=20200101T000000Z&X-Amz-Expires=1"
    rows = [{"url": f"{origin.url}/{n}?{query}", "dst_url": f"{origin.url}/to/{n}?{query}"} for n in range(41)]
    links(tmp_path / "l.csv", rows)
    done = run("copy", "l.csv", "--renew-command", renew(""), "--concurrency", "4", folder=tmp_path, env={})
    assert "copy: 41 done;" in done.stderr, done.stderr
    assert sum(asked(tmp_path)) == 82
    assert len(asked(tmp_path)) <= 4
    assert [origin.objects[f"/to/{n}"] for n in range(41)] == [f"object {n}".encode() for n in range(41)]


def test_links_that_live_are_not_renewed(origin: FaultProxy, renew: Callable[[str], str], tmp_path: Path) -> None:
    rows = many(origin, 6)
    rows[2]["expires_at"] = rows[4]["expires_at"] = OVER
    links(tmp_path / "l.csv", rows)
    get(tmp_path, "l.csv", "--to", "to", "--renew-command", renew(""), code=0)
    assert sum(asked(tmp_path)) == 2
    assert sorted(target for target in targets(origin) if "fresh" in target) == [
        f"/{n}?X-Amz-Signature=fresh-secret" for n in (2, 4)
    ]


@pytest.mark.parametrize(
    ("more", "reason", "arrived"),
    [
        ("sys.exit(5)", "RenewalFailed: the renewal command failed with exit code 5", 0),
        ("print('garbage')", "RenewalFailed: the renewal command answered with what is no list of links", 0),
        (
            "rows = [row for row in rows if int(row['path'][2:]) % 2]",
            NOT_RENEWED,
            5,
        ),
        ("for row in rows: row['path'] += 'x'", NOT_RENEWED, 0),
    ],
    ids=["fails", "garbage", "some", "another object"],
)
def test_what_is_not_renewed_is_expired_and_the_run_goes_on(
    more: str,
    reason: str | tuple[str, ...],
    arrived: int,
    origin: FaultProxy,
    renew: Callable[[str], str],
    tmp_path: Path,
) -> None:
    rows = many(origin, 20)
    for row in rows[:10]:
        row["expires_at"] = OVER
    origin.schedule = unless_fresh(*range(10))
    links(tmp_path / "l.csv", rows)
    arguments = ("get", "l.csv", "--to", "to", "--failures", "f.csv")
    done = run(*arguments, "--renew-command", renew(more), folder=tmp_path, env={})
    assert done.returncode == 3, done.stderr
    assert f"get: {10 + arrived} done, {10 - arrived} expired;" in done.stderr
    assert "Traceback" not in done.stderr
    with (tmp_path / "f.csv").open() as stream:
        left = list(csv.DictReader(stream))
    assert len(left) == 10 - arrived
    assert all(row["reason"].startswith(reason) for row in left), left
    get(tmp_path, "f.csv", "--to", "to", "--renew-command", renew(""), code=0)
    assert len(files(tmp_path / "to")) == 20


@pytest.mark.parametrize("verb", ["get", "put"])
def test_a_link_that_the_server_calls_expired_is_renewed_and_no_attempt_is_lost(
    verb: str, origin: FaultProxy, renew: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "from/d").mkdir(parents=True)
    for n in range(4):
        (tmp_path / f"from/d/{n}").write_text(f"object {n}")
    links(tmp_path / "l.csv", many(origin, 4, method=verb.upper()))
    origin.faults.extend([None, EXPIRED])
    where = ("--to", "to") if verb == "get" else ("--from", "from")
    arguments = ("l.csv", *where, "--attempts", "1", "--concurrency", "1", "-v", "--renew-command", renew(""))
    done = run(verb, *arguments, folder=tmp_path, env={})
    assert done.returncode == 0, done.stderr
    assert f"{verb}: 4 done;" in done.stderr
    assert "retry" not in done.stderr
    assert asked(tmp_path) == [1]
    assert [target.partition("=")[2] for target in targets(origin)] == [
        *("secret", "secret", "fresh-secret", "secret", "secret")
    ]


def test_a_url_renews(origin: FaultProxy, tmp_path: Path) -> None:
    """One that gives fresh links for what it was asked for, from its own knowledge."""
    links(tmp_path / "l.csv", many(origin, 5, expires_at=OVER))
    fresh_link = "X-Amz-Signature=fresh-secret&X-Amz-Date=20990101T000000Z&X-Amz-Expires=600"
    response = "".join(json.dumps({"url": f"{origin.url}/{n}?{fresh_link}", "path": f"d/{n}"}) + "\n" for n in range(4))
    origin.schedule = unless_fresh()
    with FaultProxy() as renewer:
        renewer.always = Fault(200, body=response.encode())
        said = get(tmp_path, "l.csv", "--to", "to", "--renew-url", f"{renewer.url}/fresh?token=t", code=3)
        assert {seen.target for seen in renewer.seen} == {"/fresh?token=t"}
        assert sum(len(seen.body.splitlines()) for seen in renewer.seen) == 5
    assert "get: 4 done, 1 expired;" in said
    assert sorted(targets(origin)) == [*(f"/{n}?{fresh_link}" for n in range(4)), "/4?X-Amz-Signature=secret"]


def test_the_clock_of_who_gives_fresh_links_is_not_that_of_the_objects(origin: FaultProxy, tmp_path: Path) -> None:
    rows = many(origin, 4, expires_at=in_minutes(30))
    rows[2]["expires_at"] = OVER
    links(tmp_path / "l.csv", rows)
    ahead = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    response = json.dumps({"url": f"{origin.url}/2?X-Amz-Signature=fresh-secret", "path": rows[2]["path"]})
    with FaultProxy() as renewer:
        renewer.always = Fault(200, {"Date": ahead}, response.encode())
        get(tmp_path, "l.csv", "--to", "to", "--renew-url", renewer.url, "--concurrency", "1", code=0)
        assert [len(seen.body.splitlines()) for seen in renewer.seen] == [1]


def test_fresh_links_that_are_refused_too_come_to_an_end(
    origin: FaultProxy, renew: Callable[[str], str], tmp_path: Path
) -> None:
    """Every one that was asked for is tried."""
    origin.always = EXPIRED
    links(tmp_path / "l.csv", many(origin, 1))
    said = get(tmp_path, "l.csv", "--to", "to", "--renew-command", renew(""), code=3)
    assert "Request has expired" in said
    assert len(asked(tmp_path)) == MAX_RENEWALS
    assert origin.count == 1 + MAX_RENEWALS


def test_what_was_never_sent_was_no_attempt(origin: FaultProxy, tmp_path: Path) -> None:
    """The first is sent, for the server's time is not known."""
    origin.schedule = unless_fresh()
    links(tmp_path / "l.csv", many(origin, 2, expires_at=OVER))
    get(tmp_path, "l.csv", "--to", "to", "--renew-command", "false", "--concurrency", "1", code=3)
    with closing(sqlite3.connect(tmp_path / "to.journal")) as journal:
        assert journal.execute("SELECT status, code, attempts FROM outcomes ORDER BY attempts").fetchall() == [
            ("expired", "RenewalFailed", 0),
            ("expired", "RenewalFailed", 1),
        ]


def test_a_url_that_is_not_there(origin: FaultProxy, tmp_path: Path) -> None:
    origin.schedule = unless_fresh()
    links(tmp_path / "l.csv", many(origin, 2, expires_at=OVER))
    said = get(tmp_path, "l.csv", "--to", "to", "--renew-url", "http://127.0.0.1:1/secret", code=3)
    assert "the renewal url can't be asked: no connection to 127.0.0.1:1" in said


def in_minutes(minutes: float) -> str:
    return f"{datetime.now(UTC) + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


def test_a_server_whose_clock_is_ahead_makes_links_end_early(renew: Callable[[str], str], tmp_path: Path) -> None:
    ahead = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    with FaultProxy(answer_headers={"Date": ahead}) as origin:
        origin.objects = {f"/{n}": b"x" for n in range(4)}
        links(tmp_path / "l.csv", many(origin, 4, expires_at=in_minutes(30)))
        get(tmp_path, "l.csv", "--to", "to", "--renew-command", renew(""), "--concurrency", "1", code=0)
        ends = [target.partition("=")[2] for target in targets(origin)]
    assert ends == ["secret", "fresh-secret", "fresh-secret", "fresh-secret"]
    assert asked(tmp_path) == [3]


@pytest.mark.parametrize("renews", [False, True])
def test_a_clock_that_is_ahead_gives_no_link_up(renews: bool, renew: Callable[[str], str], tmp_path: Path) -> None:
    """They seem over, and live by the server's time, which the first request tells. Fresh ones seem over as well."""
    with FaultProxy(answer_headers={"Date": date_in(hours=-2)}) as origin:
        origin.objects = {f"/{n}": b"x" for n in range(4)}
        links(tmp_path / "l.csv", many(origin, 4, expires_at=in_minutes(-60)))
        command = ("--renew-command", renew("")) if renews else ()
        (tmp_path / "renew.py").write_text(RENEW.replace("2099-01-01T00:00:00Z", in_minutes(-30)))
        said = get(tmp_path, "l.csv", "--to", "to", "--concurrency", "1", *command, code=0)
        assert "get: 4 done;" in said
        assert origin.count == 4
    assert asked(tmp_path) == ([4] if renews else [])


@pytest.mark.parametrize("command", [(), ("--renew-command", "false")], ids=["no renewal", "it fails"])
def test_links_with_seconds_left_are_sent_if_they_cannot_be_renewed(command: tuple[str, ...], tmp_path: Path) -> None:
    """The first response tells the server's time: the others are known to expire within the margin."""
    with FaultProxy(answer_headers={"Date": date_in()}) as origin:
        origin.objects = {f"/{n}": b"x" for n in range(40)}
        links(tmp_path / "l.csv", many(origin, 40, expires_at=in_minutes(0.4)))
        assert "get: 40 done;" in get(tmp_path, "l.csv", "--to", "to", "--concurrency", "2", *command, code=0)


@pytest.mark.parametrize(("hours", "side"), [(-2, "2 h ahead of"), (2, "2 h behind")])
def test_a_clock_that_is_off_is_told_where_links_expired(
    hours: int, side: str, origin: FaultProxy, tmp_path: Path
) -> None:
    origin.always = Fault(403, {"Date": date_in(hours=hours)}, EXPIRED.body)
    links(tmp_path / "l.csv", many(origin, 2, expires_at=in_minutes(60 * hours - 60)))
    said = get(tmp_path, "l.csv", "--to", "to", "--concurrency", "1", code=3)
    clause = f"; this machine's clock is {side} the server's\n"
    assert [line.endswith(clause.rstrip()) for line in said.splitlines()[:2]] == [True, True]
    assert origin.count == 1


def test_links_closest_to_their_end_go_first(origin: FaultProxy, tmp_path: Path) -> None:
    rows = many(origin, 5)
    for row, minutes in zip(rows, (30, 10, None, 20, 5), strict=True):
        row["expires_at"] = in_minutes(minutes) if minutes else ""
    links(tmp_path / "l.csv", rows)
    get(tmp_path, "l.csv", "--to", "to", "--concurrency", "1", code=0)
    assert [target.partition("?")[0] for target in targets(origin)] == ["/4", "/1", "/3", "/0", "/2"]


def test_two_sources_are_refused(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 1))
    said = refused(tmp_path, "l.csv", "--to", "to", "--renew-command", "true", "--renew-url", "http://h/")
    assert said == "error: fresh links come from one place: credentials, a command or a url\n"
    both = ("--renew-credentials", "--renew-command", "true")
    done = run("get", "l.csv", "--to", "to", *both, folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, said)
    assert origin.count == 0
    assert not (tmp_path / "to").exists()
