"""Files below a folder: what is opened, what stays inside, and whose a temporary file is."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bulkpresign.errors import NameRefusedError, StorageError
from bulkpresign.transfer.disk import beneath, temporary
from bulkpresign.transfer.disk.folder import Folder, Target
from bulkpresign.transfer.disk.temporary import TemporaryFile, remove_temporary


@pytest.fixture(params=["in one step", "by segments"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with links that stay inside and links that lead out, on both ways of opening."""
    if request.param == "by segments":
        monkeypatch.setattr(beneath, "_open_below", lambda: beneath.by_segments)
    made = tmp_path / "data"
    (made / "sub").mkdir(parents=True)
    (made / "sub/f").write_text("inside")
    (tmp_path / "data-secret").mkdir()
    (tmp_path / "data-secret/f").write_text("secret")
    for name, target in {
        "in": "sub",
        "absolute": str(made / "sub"),
        "up": "..",
        "beside": "../data-secret",
        "round": "../data/sub",
        "etc": "/etc",
    }.items():
        (made / name).symlink_to(target)
    (made / "file").symlink_to("../data-secret/f")
    yield made


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def read(folder: Folder, path: str) -> str:
    descriptor = folder.open_source(path)
    try:
        return os.read(descriptor, 100).decode()
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path", ["sub/f", "in/f", "absolute/f", "round/f"])
def test_links_that_stay_inside_are_followed(path: str, root: Path) -> None:
    folder = Folder(root)
    folder.check(path)
    assert read(folder, path) == "inside"
    with folder.target(path.replace("/f", "/g")) as target, TemporaryFile(target) as file:
        file.write(b"x")
        file.commit()
    assert (root / "sub/g").read_text() == "x"


@pytest.mark.parametrize("path", ["beside/f", "up/data-secret/f", "etc/passwd", "file", "beside/new/f"])
def test_links_that_lead_out_are_refused(path: str, root: Path) -> None:
    """Also to a folder whose name begins with that of the root."""
    folder = Folder(root)
    with pytest.raises(NameRefusedError, match="it leaves the folder through a symbolic link"):
        folder.check_sources([path])
    with pytest.raises(NameRefusedError, match="it leaves the folder through a symbolic link"):
        folder.open_source(path)
    if path != "file":  # a download replaces the link itself
        with (
            folder.target(path) as target,
            pytest.raises(StorageError, match="it leaves the folder through a symbolic link"),
            TemporaryFile(target),
        ):
            pytest.fail("it is refused first")
    assert sorted(path.name for path in root.parent.rglob("*") if path.suffix == ".part") == []


def test_a_folder_that_is_exchanged_meanwhile_leads_nowhere_else(root: Path) -> None:
    folder, outside = Folder(root), root.parent / "outside"
    outside.mkdir()

    def store(path: str) -> None:
        with folder.target(path) as target, TemporaryFile(target) as file:
            file.write(b"x")
            file.commit()

    store("new/a")
    (root / "new").rename(root.parent / "moved")
    (root / "new").symlink_to(outside)
    store("new/b")  # into the folder that it has open
    folder.close()
    with pytest.raises(StorageError, match="symbolic link"):
        store("new/c")
    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in (root.parent / "moved").iterdir()) == ["a", "b"]


def test_a_folder_that_is_removed_meanwhile_is_made_again(root: Path) -> None:
    folder = Folder(root)
    for _ in range(2):
        with folder.target("new/deep/a") as target, TemporaryFile(target) as file:
            file.write(b"x")
            file.commit()
        assert (root / "new/deep/a").read_bytes() == b"x"
        (root / "new/deep/a").unlink()
        (root / "new/deep").rmdir()
        (root / "new").rmdir()


def test_the_folder_itself_is_made_with_its_parents(tmp_path: Path) -> None:
    with Folder(tmp_path / "not/there").target("a") as target, TemporaryFile(target) as file:
        file.write(b"x")
        file.commit()
    assert (tmp_path / "not/there/a").read_bytes() == b"x"


def test_few_folders_are_open_at_a_time(root: Path) -> None:
    folder = Folder(root)
    before = open_descriptors()
    for number in range(1000):
        with folder.target(f"d{number}/a") as target, TemporaryFile(target) as file:
            file.write(b"x")
            file.commit()
    assert open_descriptors() - before < 150
    folder.limit_open(64)
    folder.close()
    for number in range(100):
        folder.directory(f"d{number}")
    assert open_descriptors() - before < 15


def test_finding_out_how_paths_are_opened_leaves_no_descriptor_open() -> None:
    before = open_descriptors()
    beneath._open_below.__wrapped__()
    assert open_descriptors() == before


HOLD = """
import sys
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.disk.temporary import TemporaryFile
with Folder(sys.argv[1]).target("a") as target, TemporaryFile(target) as file:
    file.write(b"theirs")
    print(flush=True)
    sys.stdin.readline()
    file.commit()
"""


@pytest.mark.parametrize("how", [{}, {"resume_at": 3}, {"is_kept": True}])
def test_a_temporary_file_is_one_process_own(how: dict[str, Any], tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdin
        other.stdout.readline()
        with Folder(tmp_path).target("a") as target:
            with pytest.raises(StorageError, match="is in use by another run"), TemporaryFile(target, **how):
                pytest.fail("it is refused first")
            remove_temporary(target)
        other.stdin.write("\n")
        other.stdin.close()
        assert other.wait(30) == 0
    assert (tmp_path / "a").read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_got_its_name_meanwhile_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run renames it between our opening it and our lock."""
    folder = Folder(tmp_path)
    with folder.target("a") as target, TemporaryFile(target) as file:
        file.write(b"whole")
        name = tmp_path / target.temporary_name
    real = temporary._lock

    def rename_first(descriptor: int, target: Target) -> None:
        if not (tmp_path / "a").exists():
            name.rename(tmp_path / "a")
        real(descriptor, target)

    monkeypatch.setattr(temporary, "_lock", rename_first)
    with folder.target("a") as target, TemporaryFile(target) as file:
        file.write(b"x")
    assert (tmp_path / "a").read_bytes() == b"whole"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_a_temporary_name_that_is_no_file_is_told(make: Callable[[Path], object], tmp_path: Path) -> None:
    with Folder(tmp_path).target("a") as target:
        make(tmp_path / target.temporary_name)
        with pytest.raises(StorageError), TemporaryFile(target):
            pytest.fail("it is refused first")
        assert target.temporary_size() is None


def test_what_is_synced_is_renamed_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: calls.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    real = os.rename

    def rename(*names: Any, **folders: Any) -> None:
        calls.append("rename")
        real(*names, **folders)

    monkeypatch.setattr(os, "rename", rename)
    with Folder(tmp_path).target("d/a") as target, TemporaryFile(target) as file:
        file.write(b"x")
        file.commit(sync=True)
    assert calls == [f"{tmp_path}/d/{target.temporary_name}", "rename", f"{tmp_path}/d"]


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_with_its_name_leaves_no_descriptor_open(sync: bool, tmp_path: Path) -> None:
    """The folder keeps its own open, so these are not counted."""
    folder, counts = Folder(tmp_path), []
    for name in ("a", "b", "c"):
        with folder.target(name) as target, TemporaryFile(target) as file:
            file.write(b"x")
            file.commit(sync=sync)
        counts.append(open_descriptors())
    assert len(set(counts)) == 1
