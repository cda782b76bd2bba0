"""Every command of README.md and examples/*.md is run here, and prints what is written there, numbers apart."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import Boto
from tests.servers.server import S3Server

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "examples").glob("*.md"))]
BUCKET = "my-data"
OBJECTS = 24

#: Runs a program with `await` at its top level, as a notebook does.
TOP_LEVEL_AWAIT = """
import ast, asyncio, sys, types
code = compile(sys.stdin.read(), "python blocks", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
asyncio.run(types.FunctionType(code, {})())
"""


class Command(NamedTuple):
    document: Path
    line: int
    text: str
    output: str


def commands(document: Path) -> list[Command]:
    """The commands of a document's console blocks, in order, each with the output that follows it."""
    found: list[Command] = []
    inside = False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Command(document, number, line[2:], ""))
        elif inside:
            found[-1] = found[-1]._replace(output=f"{found[-1].output}{line}\n")
    return found


COMMANDS = [command for document in DOCUMENTS for command in commands(document)]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


def masked(text: str) -> str:
    """Numbers, times, units of bytes and checksums differ from run to run."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "H", text)
    text = re.sub(r"(?<=crc64nvme )\S{11}=|(?<=file's is )\S{11}=", "C", text)
    return re.sub(r"\d[\d,.:TZ-]*( [KMG]?i?B\b)?", "N", text)


@pytest.fixture(scope="module")
def shell(seaweedfs: S3Server, boto: Boto, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`shell(document, words)`: the output and the exit code of a command, in the folder of its document."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    @cache
    def folder_of(document: Path) -> Path:
        """A new folder. The bucket has all objects again, and no others: documents do not share what they change."""
        fill(boto(seaweedfs))
        return tmp_path_factory.mktemp(document.stem)

    def run(document: Path, words: list[str], given: str = "") -> str:
        done = subprocess.run(
            words,
            cwd=folder_of(document),
            env=os.environ | seaweedfs.environment | {"PATH": path},
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        code = done.returncode if done.returncode >= 0 else 128 - done.returncode  # as a shell tells a signal
        return done.stdout + (f"[exit code {code}]\n" if code else "")

    return run


def fill(client: Any) -> None:
    if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)
    for row in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=row["Key"])
    for number in range(OBJECTS):
        body = os.urandom(4096 + number)
        client.put_object(Bucket=BUCKET, Key=f"reports/2026/report {number:02}.pdf", Body=body)


def test_the_readme_has_commands() -> None:
    assert len(commands(README)) > 10
    assert len(blocks(README, "sh")) == 2
    assert len(COMMANDS) > 50


def test_the_readme_links_to_every_example() -> None:
    linked = set(re.findall(r"\]\(examples/([^)]+)\)", README.read_text()))
    assert linked == {path.name for path in (ROOT / "examples").iterdir() if path.is_file()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_to_files(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text())
    assert not [target for target in targets if not (document.parent / target).exists()]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.document.stem} line {command.line}")
def test_command(command: Command, shell: Any) -> None:
    printed = shell(command.document, ["bash", "-c", command.text])
    assert masked(printed) == masked(command.output)


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if blocks(each, "python")], ids=lambda each: each.name)
def test_python_blocks(document: Path, shell: Any) -> None:
    """All of a document's blocks are one program."""
    words = [sys.executable, "-W", "error", "-c", TOP_LEVEL_AWAIT]
    printed = shell(document, words, "\n".join(blocks(document, "python")))
    assert "[exit code" not in printed, printed
    assert "None" not in printed


@pytest.mark.timeout(400)  # it downloads what it installs
def test_the_first_command_shows_the_whole_job(tmp_path: Path) -> None:
    """In a copy of the tree, for it makes a virtual environment there."""
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "tests")
    shutil.copytree(ROOT, copy, ignore=left_out)
    done = subprocess.run(
        ["bash", "-c", blocks(README, "sh")[0]], cwd=copy, capture_output=True, text=True, timeout=380
    )
    assert done.returncode == 0, done.stderr
    assert "300 of 300 files are the same" in done.stdout


def test_the_second_command_is_the_one_that_ci_calls() -> None:
    test_command = "python -m pytest"
    assert blocks(README, "sh")[1].strip().endswith(test_command)
    assert test_command in (ROOT / ".ci" / "run").read_text()
