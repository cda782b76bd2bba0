"""Names of files in a locale whose encoding is not UTF-8: no key is stored under other bytes or taken from them."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.proxy import FaultProxy
from tests.support.cli import CREDENTIALS, run
from tests.support.tables import table

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
REFUSED = "it is not ASCII, and names of files are {} in this locale: set PYTHONUTF8=1"


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {"/a": b"plain", "/u": b"umlaut"}
        yield proxy


@pytest.fixture(params=["ascii", "iso8859-1"])
def locale(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, str], str]:
    """The environment of a locale, and what Python calls its encoding."""
    if request.param == "ascii":
        return ASCII, request.param
    name = str(tmp_path / "locales" / "de_DE.ISO-8859-1")
    Path(name).parent.mkdir()
    command = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", name]
    if shutil.which("localedef") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this locale can't be made: localedef or its files are missing")
    return {"LC_ALL": "de_DE.ISO-8859-1", "LOCPATH": str(Path(name).parent)}, request.param


def test_names_that_are_not_ascii_are_refused_before_a_request(
    locale: tuple[dict[str, str], str], origin: FaultProxy, tmp_path: Path
) -> None:
    environment, encoding = locale
    table(tmp_path / "l.csv", [{"url": f"{origin.url}/{key}", "path": f"d/{key}"} for key in ("a", "u")])
    done = run("get", "l.csv", "--to", "plain", folder=tmp_path, env=environment)
    assert (done.returncode, origin.count) == (0, 2)
    table(tmp_path / "m.csv", [{"url": f"{origin.url}/{key}", "path": f"d/{key}"} for key in ("a", "ü")])
    done = run("get", "m.csv", "--to", "to", folder=tmp_path, env=environment)
    assert (done.returncode, origin.count) == (2, 2)
    assert "error: m.csv:3: column path: path 'd/" in done.stderr
    assert REFUSED.format(encoding) in done.stderr


def test_files_are_not_uploaded_or_compared_under_other_names(
    locale: tuple[dict[str, str], str], origin: FaultProxy, tmp_path: Path
) -> None:
    environment = {**CREDENTIALS, **locale[0], "AWS_ENDPOINT_URL": origin.url}
    (tmp_path / "from").mkdir()
    (tmp_path / "from/ü").write_bytes(b"umlaut")
    done = run("put", "from", "s3://bucket/p/", folder=tmp_path, env=environment)
    assert done.returncode in {1, 2}
    assert not any(seen.method == "PUT" for seen in origin.seen)
    done = run("verify", "from", "from", folder=tmp_path, env=environment)
    assert (done.returncode, REFUSED.format(locale[1]) in done.stderr) == (2, True)
    utf8 = run("verify", "from", "from", folder=tmp_path, env={**environment, "PYTHONUTF8": "1"})
    assert utf8.returncode == 0, utf8.stderr
