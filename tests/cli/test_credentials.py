"""Credentials that can't be refreshed during a run: what is said, and that no traceback is printed."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.support.cli import run

#: Prints credentials once, and then fails as a single sign-on that has ended.
PROGRAM = """
import datetime, json, pathlib, sys
asked = pathlib.Path({asked!r})
if asked.exists():
    sys.exit("the session has ended: run aws sso login")
asked.touch()
over = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds={seconds})
print(json.dumps({{"Version": 1, "AccessKeyId": "ASIA", "SecretAccessKey": "x", "Expiration": over.isoformat()}}))
"""
CAUSE = "Error when retrieving credentials from custom-process: the session has ended: run aws sso login"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A chain of credentials that ends with the program."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    command = shlex.join([sys.executable, str(tmp_path / "program.py")])
    (tmp_path / "config").write_text(f"[default]\nregion = us-east-1\ncredential_process = {command}\n")
    (tmp_path / "keys.csv").write_text("bucket,key\nbucket,k\n")
    return {"AWS_CONFIG_FILE": str(tmp_path / "config")}


def lasting(seconds: int, folder: Path) -> None:
    (folder / "program.py").write_text(PROGRAM.format(asked=str(folder / "asked"), seconds=seconds))


@pytest.mark.parametrize(("verb", "what"), [("sign", "links"), ("post", "forms")])
def test_a_token_whose_end_is_not_known(verb: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("bucket,key\nbucket,k\n")
    token = {"AWS_ACCESS_KEY_ID": "ASIA", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "t"}
    command = (verb, "keys.csv", "-o", "out.csv", "-q")
    done = run(*command, folder=tmp_path, env=token)
    assert done.returncode == 0
    assert done.stderr.startswith(f"warning: the {what} may end before their expires_at: ")
    known = token | {"AWS_CREDENTIAL_EXPIRATION": "2099-01-01T00:00:00Z"}
    assert run(*command, folder=tmp_path, env=known).stderr == ""


def test_a_refresh_that_fails_is_said_in_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    lasting(300, tmp_path)
    done = run("sign", "keys.csv", "-o", "links.csv", folder=tmp_path, env=environment)
    assert done.returncode == 2
    warning, error = done.stderr.splitlines()
    assert warning.startswith("warning: Refreshing temporary credentials failed during mandatory refresh period: ")
    assert error == f"error: {CAUSE}"


def test_a_refresh_that_fails_early_does_not_end_the_run(environment: dict[str, str], tmp_path: Path) -> None:
    lasting(780, tmp_path)  # botocore begins 15 minutes before the end, and insists 10 minutes before it
    done = run("sign", "keys.csv", "-o", "links.csv", "--progress", "json", folder=tmp_path, env=environment)
    rows = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 0
    assert [row["message"] for row in rows if row.get("level") == "warning"] == [
        f"Refreshing temporary credentials failed during advisory refresh period: {CAUSE}"
    ]
