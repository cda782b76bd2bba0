"""Files in a folder that all users may write, such as /tmp, where another user has put a symbolic link."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.runs import get
from tests.servers.proxy import FaultProxy
from tests.support.cli import run
from tests.support.links import links

_PROTECTION = Path("/proc/sys/fs/protected_symlinks")
_OTHER_USER = 65534


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """Such a folder. Linux protects it by default; it is set by root."""
    before = _PROTECTION.read_text()
    try:
        _PROTECTION.write_text("1")
    except OSError:
        pytest.skip("the protection of shared folders can't be set here")
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    yield folder
    _PROTECTION.write_text(before)


def plant(link: Path, target: Path) -> None:
    link.symlink_to(target)
    os.chown(link, _OTHER_USER, _OTHER_USER, follow_symlinks=False)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_of_another_user_does_not_lead_to_a_file(exists: bool, shared: Path, tmp_path: Path) -> None:
    """Linux answers `Permission denied`, as to any other program."""
    mine = tmp_path / "mine"
    if exists:
        mine.write_text("mine")
    plant(shared / "links.csv", mine)
    (tmp_path / "keys.txt").write_text("a\n")
    done = run("sign", "keys.txt", "--bucket", "bucket", "-o", str(shared / "links.csv"), folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"error: {shared}/links.csv can't be written: Permission denied\n")
    assert mine.read_text() == "mine" if exists else not mine.exists()


@pytest.mark.parametrize("name", ["to", "to.journal"])
def test_a_link_of_another_user_does_not_lead_to_a_folder_or_journal(name: str, shared: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    plant(shared / name, mine if name == "to" else mine / "file")
    with FaultProxy() as origin:
        origin.objects = {"/a": b"a"}
        links(tmp_path / "l.csv", [{"url": f"{origin.url}/a", "path": "a"}])
        assert "Permission denied" in get(tmp_path, "l.csv", "--to", str(shared / "to"), code=2)
        assert origin.count == 0
    assert list(mine.iterdir()) == []
