from pathlib import Path

import pytest

from bulkpresign.transfer.disk.case import ignores_case


def test_the_file_systems_of_linux_tell_case_apart(tmp_path: Path) -> None:
    assert not ignores_case(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_ignores_case_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def exists(path: Path) -> bool:
        asked.append(path)
        return any(one.name.lower() == path.name.lower() for one in path.parent.iterdir())

    monkeypatch.setattr(Path, "exists", exists)
    assert ignores_case(tmp_path)
    assert not list(tmp_path.iterdir())
    assert ignores_case(tmp_path / "not" / "made")
    assert [path.parent for path in asked] == [tmp_path, tmp_path]


def test_a_folder_in_which_nothing_can_be_made_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert not ignores_case(tmp_path / "file" / "below")
    assert not ignores_case(Path("/proc/self"))
