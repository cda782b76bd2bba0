"""CONTRIBUTING.md names every room and module, and only files that exist."""

import re
from pathlib import Path

from bulkpresign.cli.app import VERBS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_every_room_is_on_the_map() -> None:
    rooms = [path.parent.name for path in (ROOT / "bulkpresign").glob("*/__init__.py")]
    assert rooms
    assert not [room for room in rooms if f"- `{room}/`: " not in TEXT]


def test_every_module_is_on_the_map() -> None:
    """In the paragraph of its room, but for the modules of `cli` with the names of the verbs."""
    paragraphs = dict(re.findall(r"^ *- `(\w+)/`: (.*?)(?=^ *- |^#)", TEXT, re.DOTALL | re.MULTILINE))
    modules = [path for path in (ROOT / "bulkpresign").glob("*/**/*.py") if path.stem != "__init__"]
    unnamed = [path for path in modules if f"`{path.stem}`" not in paragraphs[path.parent.name]]
    assert {path.stem for path in unnamed if path.parent.name == "cli"} <= set(VERBS)
    assert not [path for path in unnamed if path.parent.name != "cli"]


def test_every_file_that_it_names_is_there() -> None:
    named = {
        name for name in re.findall(r"[`(](\w[\w/]*\.(?:py|md|toml))[`)]", TEXT) if not re.search("VERB|NAME", name)
    }
    assert len(named) > 20
    assert not [name for name in named if not any((ROOT / top / name).exists() for top in (".", "bulkpresign"))]
