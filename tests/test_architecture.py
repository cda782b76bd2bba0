"""The architecture: the direction of imports, the packages that import each library, and the public names."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

import bulkpresign
from bulkpresign import errors, events
from bulkpresign.errors import BulkpresignError

ROOT = Path(bulkpresign.__file__).parent
STAGES = {"source", "signing", "manifest", "transfer", "ledger", "proof"}
#: From the lowest: a room imports rooms of lower floors, and those of its own floor that `NEIGHBOURS` names.
FLOORS = [
    {"model", "errors", "events", "limits", "markup", "redact", "tasks", "text"},
    {"tables", "aws", "checksums", "http"},
    STAGES,
    {"scale"},
    {"pipeline", "guide"},
    {"demo", "cli"},
    {"__main__"},
]
#: Pairs of rooms on one floor of which the first may import the second.
NEIGHBOURS = {
    ("events", "model"),
    ("model", "errors"),
    ("model", "events"),
    ("errors", "redact"),
    ("tables", "checksums"),
    ("cli", "demo"),
}
#: The stages that `guide` imports.
STAGES_OF_THE_GUIDE = {"signing"}
#: The rooms that may import a library.
IMPORTERS = {
    "aioboto3": {"aws"},
    "aiobotocore": {"aws"},
    "boto3": {"aws"},
    "botocore": {"aws"},
    "aiohttp": {"http"},
    "awscrt": {"checksums"},
    "click": {"cli"},
    "pyarrow": {"tables"},
    "tqdm": {"ledger"},
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    trees = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        trees[".".join(part for part in parts if part != "__init__")] = ast.parse(path.read_text("utf-8"))
    return trees


def imports(tree: ast.AST) -> Iterator[str]:
    """The names that are imported anywhere in a module, functions and `TYPE_CHECKING` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else str(node.module)


def own_imports(name: str) -> set[str]:
    return {other for other in imports(modules()[name]) if other.split(".")[0] == "bulkpresign"}


def room(name: str) -> str:
    """The room that a module is in: `bulkpresign.signing.post` is in `signing`."""
    return name.split(".")[1] if "." in name else ""


def floor(room: str) -> int:
    (level,) = [level for level, rooms in enumerate(FLOORS) if room in rooms]
    return level


def crossings() -> Iterator[tuple[str, str]]:
    """Pairs of a module and a module of another room that it imports; the facade is no room."""
    for name in modules():
        for other in own_imports(name):
            if room(name) and room(other) and room(name) != room(other):
                yield name, other


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in modules()} - {""} == set().union(*FLOORS)


def test_imports_run_one_way() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, other in crossings()
        if floor(room(other)) > floor(room(name))
        or (floor(room(other)) == floor(room(name)) and (room(name), room(other)) not in NEIGHBOURS)
    ]
    assert not wrong


def test_stages_meet_in_the_pipeline_alone() -> None:
    met = {(room(name), room(other)) for name, other in crossings() if room(name) in STAGES and room(other) in STAGES}
    assert not met
    assert {room(other) for name, other in crossings() if room(name) == "guide"} & STAGES == STAGES_OF_THE_GUIDE


def test_the_facade_imports_lazily() -> None:
    """No module reads names from the facade but its version; the facade's own imports are for type checkers."""
    users = [name for name in modules() if "bulkpresign" in own_imports(name)]
    for name in users:
        taken = {
            alias.name
            for node in ast.walk(modules()[name])
            if isinstance(node, ast.ImportFrom) and node.module == "bulkpresign"
            for alias in node.names
            if f"bulkpresign.{alias.name}" not in modules()
        }
        assert taken <= {"__version__"}, name


@pytest.mark.parametrize("library", IMPORTERS)
def test_every_library_is_imported_by_one_room(library: str) -> None:
    users = {
        room(name) for name, tree in modules().items() if library in {each.split(".")[0] for each in imports(tree)}
    }
    assert users <= IMPORTERS[library]


def test_only_one_module_imports_each_network_library() -> None:
    for library in ("aioboto3", "aiohttp", "tqdm"):
        users = [name for name, tree in modules().items() if library in {each.split(".")[0] for each in imports(tree)}]
        assert len(users) == 1, users


def test_no_import_circles() -> None:
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in finished:
            return
        for other in own_imports(name) & set(modules()) - {name, "bulkpresign"}:
            visit(other, (*trail, name))
        finished.add(name)

    for name in modules():
        visit(name, ())


def test_no_test_module_imports_another() -> None:
    """Helpers that test modules share are in `tests/support/`, or in a module of their own beside their only users."""
    wrong = [
        f"{path.relative_to(ROOT.parent)} imports {name}"
        for path in sorted((ROOT.parent / "tests").rglob("*.py"))
        for name in imports(ast.parse(path.read_text("utf-8")))
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))
    ]
    assert not wrong


def test_everything_public_resolves() -> None:
    assert len(set(bulkpresign.__all__)) == len(bulkpresign.__all__)
    for name in bulkpresign.__all__:
        assert getattr(bulkpresign, name) is not None
    assert set(dir(bulkpresign)) == set(bulkpresign.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = bulkpresign.no_such_name


def test_type_checkers_see_what_is_public() -> None:
    seen = {
        str(alias.asname): f"{node.module}.{alias.name}"
        for node in ast.walk(modules()["bulkpresign"])
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("bulkpresign.")
        for alias in node.names
    }
    assert set(seen) == set(bulkpresign.__all__) - {"__version__"}
    for name, home in seen.items():
        module, _, attribute = home.rpartition(".")
        assert getattr(bulkpresign, name) is getattr(import_module(module), attribute)


def test_what_a_program_can_meet_is_public() -> None:
    """All errors, and all events: a listener tells them apart by their types."""
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {kind.__name__ for kind in [*kinds, *get_args(events.Event)]} <= set(bulkpresign.__all__)


def test_every_exception_is_one_of_ours() -> None:
    for name in modules():
        if name == "bulkpresign.__main__":
            continue
        module = import_module(name)
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == name:
                assert name == "bulkpresign.errors", f"{name} defines {value.__name__}"
                assert issubclass(value, BulkpresignError)


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout.splitlines()[-1]))


def foreign_after(code: str) -> set[str]:
    """The loaded modules that are not of the standard library and not loaded by an empty program."""
    return loaded_after(code) - loaded_after("") - set(sys.stdlib_module_names)


def test_importing_the_package_costs_nothing() -> None:
    assert foreign_after("import bulkpresign") == {"bulkpresign"}


def test_help_costs_click() -> None:
    for words in ("--version", "--help"):
        code = f"from bulkpresign.cli.app import app; app(['{words}'], prog_name='x', standalone_mode=False)"
        assert foreign_after(code) == {"bulkpresign", "click"}
