from pathlib import Path

import pytest

from bulkpresign.errors import ListingError
from bulkpresign.model import ObjectRef
from bulkpresign.source.folder import folder_objects


def test_files_come_in_the_order_of_their_names_with_size_and_type(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "x.html").write_text("abc")
    (tmp_path / "a.png").write_text("")
    (tmp_path / "z.tar.gz").write_text("z")
    (tmp_path / "empty").mkdir()
    assert [ref for batch in folder_objects(tmp_path, "b-1", "p/") for ref in batch] == [
        ObjectRef("b-1", "p/a.png", size=0, content_type="image/png", path="a.png"),
        ObjectRef("b-1", "p/b/c/x.html", size=3, content_type="text/html", path="b/c/x.html"),
        ObjectRef("b-1", "p/z.tar.gz", size=1, path="z.tar.gz"),
    ]


def test_links_to_files_are_followed_and_no_link_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("abc")
    (tmp_path / "file").symlink_to("real")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "nowhere").symlink_to("missing")
    found = [(ref.path, ref.size) for batch in folder_objects(tmp_path, "b-1", "") for ref in batch]
    assert found == [("file", 3), ("loop", None), ("nowhere", None), ("real", 3)]


def test_a_thousand_files_come_in_batches(tmp_path: Path) -> None:
    for i in range(600):
        (tmp_path / f"{i:04}").touch()
    batches = list(folder_objects(tmp_path, "b-1", ""))
    assert max(map(len, batches)) <= 256
    assert [ref.path for batch in batches for ref in batch] == [f"{i:04}" for i in range(600)]


def test_a_folder_that_can_not_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match="can't be read: No such file"):
        list(folder_objects(tmp_path / "missing", "b-1", ""))
