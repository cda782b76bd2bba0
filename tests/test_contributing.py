"""CONTRIBUTING.md names every room, and only files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_every_room_is_on_the_map() -> None:
    rooms = [path.parent.name for path in (ROOT / "bulkpresign").glob("*/__init__.py")]
    assert rooms
    assert not [room for room in rooms if f"- `{room}/`: " not in TEXT]


def test_every_file_that_it_names_is_there() -> None:
    named = {
        name for name in re.findall(r"[`(](\w[\w/]*\.(?:py|md|toml))[`)]", TEXT) if not re.search("VERB|NAME", name)
    }
    assert len(named) > 20
    assert not [name for name in named if not any((ROOT / top / name).exists() for top in (".", "bulkpresign"))]
