import errno
import os
import tempfile
from pathlib import Path

import pytest

from bulkpresign.transfer.disk.case import ignores_case


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that are looked up in the other case, which finds the file itself, as on macOS."""
    names: list[str] = []

    lstat = Path.lstat

    def lookup(path: Path) -> os.stat_result:
        for other in path.parent.iterdir():
            if other.name != path.name and other.name.lower() == path.name.lower():
                names.append(other.name)
                return lstat(other)
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", lookup)
    return names


@pytest.mark.parametrize("name", ["Name", "123"])
@pytest.mark.parametrize("is_empty", [True, False])
def test_the_file_systems_of_linux_tell_case_apart(name: str, is_empty: bool, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    if not is_empty:
        (folder / "a").touch()
        (folder / "A").touch()
    before = sorted(path.name for path in folder.iterdir())
    assert not ignores_case(folder)
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.usefixtures("looked_up")
def test_a_folder_that_ignores_case_is_found(tmp_path: Path) -> None:
    assert ignores_case(tmp_path)
    assert ignores_case(tmp_path / "not" / "made")
    assert not list(tmp_path.iterdir())


def test_nothing_is_made_where_a_name_shows_it(looked_up: list[str], tmp_path: Path) -> None:
    (folder := tmp_path / "123").mkdir()
    (folder / "456").touch()
    (folder / "\u00e9").touch()
    assert ignores_case(folder)
    assert [name.endswith(".part") for name in looked_up] == [True]
    assert sorted(path.name for path in folder.iterdir()) == ["456", "\u00e9"]
    (folder / "b").touch()
    assert ignores_case(folder)
    assert looked_up[1:] == ["b"]
    assert ignores_case(tmp_path)
    assert looked_up[2:] == [tmp_path.name]


def test_a_link_that_leads_nowhere_has_a_name(looked_up: list[str], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert ignores_case(tmp_path)
    assert looked_up == ["link"]


@pytest.mark.parametrize("is_mount", [True, False])
def test_the_name_of_a_mount_point_or_a_link_is_that_of_another_file_system(
    is_mount: bool, looked_up: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "disk"
    if is_mount:
        folder.mkdir()
        monkeypatch.setattr(Path, "is_mount", lambda path: path == folder)
    else:
        (tmp_path / "123").mkdir()
        folder.symlink_to("123")
    assert ignores_case(folder)
    assert [name.endswith(".part") for name in looked_up] == [True]


def test_a_folder_in_which_nothing_can_be_made_is_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    assert not ignores_case(tmp_path / "file" / "below")

    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (folder := tmp_path / "123").mkdir()
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    assert not ignores_case(folder)
