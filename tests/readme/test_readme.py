"""Every command of the README is run here, and prints what the README says it prints, numbers apart."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import Boto
from tests.servers.server import S3Server

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BUCKET = "my-data"
OBJECTS = 24


class Command(NamedTuple):
    line: int
    text: str
    output: str


def commands() -> list[Command]:
    """The commands of all console blocks, in order, each with the output that follows it."""
    found: list[Command] = []
    inside = False
    for number, line in enumerate(README.read_text().splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Command(number, line[2:], ""))
        elif inside:
            found[-1] = found[-1]._replace(output=f"{found[-1].output}{line}\n")
    return found


def shell_blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)


def masked(text: str) -> str:
    """Numbers, times, units of bytes and checksums differ from run to run."""
    text = re.sub(r"(?<=crc64nvme )\S{11}=|(?<=file's is )\S{11}=", "C", text)
    return re.sub(r"\d[\d,.:TZ-]*( [KMG]?i?B\b)?", "N", text)


@pytest.fixture(scope="module")
def shell(seaweedfs: S3Server, boto: Boto, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`shell(command)`: its output and exit code, in a folder that all commands share."""
    client, folder = boto(seaweedfs), tmp_path_factory.mktemp("readme")
    client.create_bucket(Bucket=BUCKET)
    for number in range(OBJECTS):
        body = os.urandom(4096 + number)
        client.put_object(Bucket=BUCKET, Key=f"reports/2026/report {number:02}.pdf", Body=body)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=os.environ | seaweedfs.environment | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        code = done.returncode if done.returncode >= 0 else 128 - done.returncode  # as a shell tells a signal
        return done.stdout + (f"[exit code {code}]\n" if code else "")

    return run


def test_the_readme_has_commands() -> None:
    assert len(commands()) > 10
    assert len(shell_blocks()) == 2


@pytest.mark.parametrize("command", commands(), ids=lambda command: f"line {command.line}")
def test_command(command: Command, shell: Any) -> None:
    assert masked(shell(command.text)) == masked(command.output)


@pytest.mark.timeout(400)  # it downloads what it installs
def test_the_first_command_shows_the_whole_job(tmp_path: Path) -> None:
    """In a copy of the tree, for it makes a virtual environment there."""
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "tests")
    shutil.copytree(ROOT, copy, ignore=left_out)
    done = subprocess.run(["bash", "-c", shell_blocks()[0]], cwd=copy, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stderr
    assert "300 of 300 files are the same" in done.stdout


def test_the_second_command_is_the_one_that_ci_calls() -> None:
    test_command = "python -m pytest"
    assert shell_blocks()[1].strip().endswith(test_command)
    assert test_command in (ROOT / ".ci" / "run").read_text()
