"""A server that repeats each request in its responses: no output and no file of a run has its secrets."""

import csv
import os
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from bulkpresign.model import utc_now
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.support.cli import BULKPRESIGN, run
from tests.support.links import OVER, links

SIGNATURE = "c0ffee" * 10 + "beef"
SIGV2 = "Vjbyc2lnbmF0dXJlIG9mIHYy%2B8="
TOKEN = "IQoJb3JpZ2luX2VjE%2F%2Fsession"
KEY = "c3NlLWMga2V5IG9mIDMyIGJ5dGVzLCAxMjM0NTY3OA=="
BEARER = "Bearer eyJhbGciOi"
PASSWORD = "hunter2pass"
RENEWAL = "renewal-t0ken"
SECRETS = [SIGNATURE, SIGV2, unquote(SIGV2), TOKEN, unquote(TOKEN), KEY, BEARER, BEARER[7:], PASSWORD, RENEWAL]
ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
QUERY = (
    f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ACCESS_KEY_ID}%2F20300101%2Fus-east-1%2Fs3%2Faws4_request"
    f"&X-Amz-Expires=600&X-Amz-Security-Token={TOKEN}&X-Amz-Signature={SIGNATURE}"
)
QUERY_V2 = f"AWSAccessKeyId={ACCESS_KEY_ID}&Expires=4070908800&Signature={SIGV2}"
HEADERS = f'{{"x-amz-server-side-encryption-customer-key": "{KEY}", "Authorization": "{BEARER}"}}'

#: How a server may repeat a piece of a request.
Repeat = Callable[[str], str]
REPEATS: list[Repeat] = [str, escape, quote, lambda text: quote(text, safe=""), unquote, lambda text: repr(text)]


def pieces(seen: Seen) -> Iterator[str]:
    """The lines of a request, its query's parts, and its secrets alone."""
    yield from seen.head.decode().split("\r\n")
    query = seen.target.partition("?")[2]
    yield from (query, query[-200:], *query.split("&"))
    yield from (secret for secret in SECRETS if secret in seen.head.decode())


def responses(seen: Seen) -> Iterator[Fault]:
    """All answers of a server that repeats pieces of a request wherever there is room."""
    for repeat in REPEATS:
        for piece in filter(None, map(repeat, pieces(seen))):
            body = f"<Error><Code>{{code}}</Code><Message>see {piece[:490]} there</Message></Error>"
            yield Fault(403, body=body.format(code="AccessDenied").encode())
            yield Fault(500, body=body.format(code=piece[:100]).encode())
            one_line = " ".join(piece.split())
            yield Fault(301, {"x-amz-bucket-region": one_line}, body.format(code="PermanentRedirect").encode())
            yield Fault(302, {"Location": f"http://{one_line}.example/?{one_line}"})
            yield Fault(206, {"Content-Range": one_line, "ETag": f'"{one_line}"'}, b"some")
            yield Fault(200, {"ETag": f'"{one_line}"', "x-amz-checksum-crc32": one_line}, b"some")
            yield Fault(
                200, {"ETag": f'"{one_line}"'}, f"<Error><Code>x</Code><Message>{piece}</Message></Error>".encode()
            )


@pytest.fixture
def liar() -> Iterator[FaultProxy]:
    """Gives the next answer each time."""
    with FaultProxy() as proxy:
        told: dict[str, Iterator[Fault]] = {}

        def schedule(seen: Seen) -> Fault:
            if seen.target not in told:
                told[seen.target] = responses(seen)
            return next(told[seen.target], Fault(404))

        proxy.schedule = schedule
        yield proxy


def rows(liar: FaultProxy, count: int, **more: str) -> list[dict[str, str]]:
    """Links with every kind of secret, one after another with the same url so that each gets another answer."""
    queries = [QUERY, QUERY_V2]
    return [
        {"url": f"{liar.url}/k?{queries[n % 2]}", "path": f"d/{n}", "headers": HEADERS, "size": "4", **more}
        for n in range(count)
    ]


def told(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    """All that a run prints, and that it and its report leave."""
    done = run(*arguments, folder=folder, env=env or {})
    assert "Traceback" not in done.stderr
    text = done.stdout + done.stderr
    for journal in folder.glob("*.journal"):
        text += journal.read_bytes().decode(errors="replace")
        text += run("report", journal.name, "--json", folder=folder, env={}).stdout
        text += run("report", journal.name, folder=folder, env={}).stdout
        text += run("report", journal.name, "--html", "-", folder=folder, env={}).stdout
    for failures in folder.glob("f*.csv"):
        with failures.open() as stream:
            text += "".join(row["reason"] for row in csv.DictReader(stream))
    return text


def found_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


COUNT = 2 * 300


@pytest.mark.parametrize("attempts", ["1", "2"])
def test_a_download_keeps_them(attempts: str, liar: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", rows(liar, COUNT))
    more = ("--failures", "f.csv", "-v", "--attempts", attempts)
    text = told(tmp_path, "get", "l.csv", "--to", "to", *more)
    assert liar.count >= COUNT
    assert found_in(text) == []
    assert ACCESS_KEY_ID in text  # that one tells whose link it was


def test_an_upload_keeps_them(liar: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "from/d").mkdir(parents=True)
    for n in range(COUNT):
        (tmp_path / f"from/d/{n}").write_bytes(b"some")
    links(tmp_path / "l.csv", rows(liar, COUNT, method="PUT"))
    text = told(tmp_path, "put", "l.csv", "--from", "from", "--failures", "f.csv", "-v", "--attempts", "1")
    assert liar.count >= COUNT
    assert found_in(text) == []


def test_through_a_proxy_as_well(liar: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", rows(liar, 200))
    env = {"http_proxy": liar.url.replace("//", f"//user:{PASSWORD}@"), "no_proxy": ""}
    text = told(tmp_path, "get", "l.csv", "--to", "to", "-v", "--attempts", "1", env=env)
    assert found_in(text) == []


RENEWING = """
import sys
for line in sys.stdin:
    print(line.replace("%s", "fresh-%s"))
    print('{"url": "http://h/?X-Amz-Signature=%s", "expires_at": "X-Amz-Signature=%s"}')
"""


def test_renewals_keep_them(liar: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", rows(liar, 4, expires_at=OVER))
    (tmp_path / "renew.py").write_text(RENEWING % ((SIGNATURE,) * 4))
    command = f"{shlex.quote(sys.executable)} renew.py"
    assert found_in(told(tmp_path, "get", "l.csv", "--to", "to", "-v", "--renew-command", command)) == []
    asked = f"/fresh?token={RENEWAL}"
    bodies = deque(
        [f"{asked}\n", f'{{"url": "{asked}"}}\n', f'{{"url": "http://h{asked}", "expires_at": "{asked}"}}\n']
    )
    with FaultProxy() as renewer:
        renewer.schedule = lambda _: Fault(200, body=bodies.popleft().encode()) if bodies else Fault(403)
        for n in range(5):
            env = {"BULKPRESIGN_RENEW_URL": renewer.url + asked}
            where = tmp_path / f"{n}"
            where.mkdir()
            assert found_in(told(where, "get", "../l.csv", "--to", "to", "-v", "--attempts", "1", env=env)) == []
        assert [seen.target for seen in renewer.seen][:5] == [asked] * 5


@pytest.mark.parametrize("url", [f"http://user:{PASSWORD}@127.0.0.1:0/a?{QUERY}", f"ftp://u:{PASSWORD}@h/a?{QUERY}"])
def test_a_row_that_is_refused_keeps_them(url: str, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", [{"url": url, "path": "a"}])
    assert found_in(told(tmp_path, "get", "l.csv", "--to", "to", "--failures", "f.csv")) == []
    assert found_in(told(tmp_path, "get", url, "--to", "to")) == []


@pytest.mark.parametrize(
    "words",
    [
        ("report", "run.journal"),
        ("get", "l.csv", "--to", "to", "--attempts"),
        ("get", "l.csv", "--to", "to", "--progress=json", "--attempts"),
    ],
)
def test_a_misplaced_link_keeps_them(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*words, f"https://u:{PASSWORD}@h/a?{QUERY}", folder=tmp_path, env={})
    assert done.returncode == 2
    assert found_in(done.stdout + done.stderr) == []


@pytest.mark.parametrize("by", ["file", "variable"])
def test_the_list_of_processes_shows_no_token(by: str, tmp_path: Path) -> None:
    """All users of a machine can read a command line."""
    with FaultProxy() as renewer:
        renewer.always = Fault(stall=True)
        with FaultProxy() as origin:
            links(tmp_path / "l.csv", [{"url": f"{origin.url}/a", "path": "a", "expires_at": OVER}])
            url = f"{renewer.url}/fresh?token={RENEWAL}"
            (tmp_path / "url").write_text(f"{url}\n")
            arguments = ("--renew-url", "@url") if by == "file" else ()
            env = {**os.environ, **({"BULKPRESIGN_RENEW_URL": url} if by == "variable" else {})}
            command = [*BULKPRESIGN, "get", "l.csv", "--to", "to", *arguments]
            with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE) as process:
                until = time.monotonic() + 30
                while not renewer.count and time.monotonic() < until:
                    time.sleep(0.01)
                shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                process.kill()
        assert renewer.seen[0].target == f"/fresh?token={RENEWAL}"
        assert b"l.csv" in shown
        assert RENEWAL.encode() not in shown


def test_a_file_of_a_renewal_url_that_cannot_be_used(tmp_path: Path) -> None:
    links(
        tmp_path / "l.csv",
        [{"url": "http://127.0.0.1:1/a", "path": "a", "expires_at": f"{utc_now():%Y-01-01T00:00:00Z}"}],
    )
    (tmp_path / "two").write_text(f"http://h/?{RENEWAL}\nhttp://h/?{RENEWAL}\n")
    for name, said in (
        ("none", "none can't be read: No such file"),
        (f"http://h/?{RENEWAL}", "http://h/ can't be read: No such file"),
        ("two", "two does not hold one line"),
    ):
        done = run("get", "l.csv", "--to", "to", "--renew-url", f"@{name}", folder=tmp_path, env={})
        assert done.returncode == 2
        assert said in done.stderr
        assert RENEWAL not in done.stderr


def test_a_customer_key_in_place_of_its_file(tmp_path: Path) -> None:
    for given in (KEY, f"{KEY}/{KEY}", KEY * 10):
        done = run("sign", "s3://b-1/k", "--sse-customer-key", given, folder=tmp_path, env={})
        assert done.returncode == 2
        assert "sse-customer-key: " in done.stderr
        assert found_in(done.stderr) == []


def test_an_option_outweighs_the_variable(tmp_path: Path) -> None:
    links(tmp_path / "l.csv", [{"url": "http://127.0.0.1:1/a", "path": "a"}])
    env = {"BULKPRESIGN_RENEW_URL": "http://127.0.0.1:1/"}
    done = run("get", "l.csv", "--to", "to", "--renew-command", "true", "--dry-run", folder=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
