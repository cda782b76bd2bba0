"""`bulkpresign merge`: two workers move the halves of a manifest, each with its own journal."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.proxy import FaultProxy
from tests.support.cli import BULKPRESIGN, run
from tests.support.links import links

BODIES = {f"/{number}": bytes(1000 + number) for number in range(20)}


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = dict(BODIES)
        yield proxy


@pytest.fixture
def moved(origin: FaultProxy, tmp_path: Path) -> Path:
    """A folder with `all.csv`, and the journals `0.journal` and `1.journal` of its halves, which are in `to`."""
    rows = [{"url": f"{origin.url}{name}", "path": name[1:]} for name in BODIES]
    links(tmp_path / "all.csv", rows)
    for number in range(2):
        links(tmp_path / f"{number}.csv", rows[number::2])
        done = run("get", f"{number}.csv", "--to", "to", "--journal", f"{number}.journal", folder=tmp_path)
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_everything_takes_the_merged_journal(origin: FaultProxy, moved: Path) -> None:
    done = run("merge", "0.journal", "1.journal", "-o", "all.journal", folder=moved)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == ("merge: 20 objects (20 done, 0 skipped, 0 failed, 0 expired) of 2 journals in all.journal\n")
    assert "objects   20: 20 done, 0 skipped" in run("report", "all.journal", folder=moved).stdout
    verified = run("verify", "all.csv", "--in", "to", "--journal", "all.journal", folder=moved)
    alone = run("verify", "all.csv", "--in", "to", "--journal", "0.journal", folder=moved)
    assert verified.stderr.startswith("verify: 20 verified (20 by md5)")
    assert "verify: 10 verified (10 by md5), 10 unproven" in alone.stderr
    before = len(origin.seen)
    again = run("get", "all.csv", "--to", "to", "--journal", "all.journal", folder=moved)
    assert again.stderr.startswith("get: 0 done, 20 skipped")
    assert len(origin.seen) == before


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["0.journal", "./0.journal", "-o", "x"], "0.journal is given twice"),
        (["0.journal", "0.csv", "-o", "x"], "0.csv is a manifest, not a journal: "),
        (["0.journal", "1.journal", "-o", "1.journal"], "1.journal exists: name a new file"),
        (["0.journal", "-o", ""], "--output is empty: name a file"),
        (["none", "-o", "x"], "none: no such journal"),
    ],
)
def test_bad_input(moved: Path, words: list[str], problem: str) -> None:
    done = run("merge", *words, folder=moved)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {problem}")
    assert not (moved / "x").exists()


def test_more_journals_than_a_shell_allows_open_files(moved: Path) -> None:
    """`split -n` makes up to 1,000 shards."""
    for number in range(2, 100):
        shutil.copy(moved / f"{number % 2}.journal", moved / f"{number}.journal")
    script = 'ulimit -S -n 64; exec "$@" merge *.journal -o all.journal'
    done = subprocess.run(
        ["bash", "-c", script, "-", *BULKPRESIGN], cwd=moved, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "merge: 20 objects (20 done" in done.stderr
