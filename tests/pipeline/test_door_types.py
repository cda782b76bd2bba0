"""A user's program is checked by `mypy --strict`: everything public is typed, and misuse is found."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio
from collections.abc import AsyncIterator

import bulkpresign as bp


async def rows() -> AsyncIterator[bp.ObjectRef]:
    yield bp.ObjectRef("bucket", "key")


async def main() -> None:
    config = bp.TransferConfig(concurrency=8)
    async with bp.Presigner() as presigner:
        method: bp.Method = "HEAD"
        presigner.sign_batch([], method, options=bp.LinkOptions())
        await presigner.presign("create_bucket", {}, http_method="PUT")
        report = await bp.get(presigner.sign(rows()), to="data/", config=config, presigner=presigner)
        done: int = report.done
        async with bp.get_outcomes(["https://host/key"], to="data/", attempts=done) as outcomes:
            async for outcome in outcomes:
                status: str = outcome.status
        async for _ in bp.put_outcomes("data/", "s3://bucket/prefix/", listeners=[print]):
            break
        async for link, data in bp.read(rows(), presigner=presigner):
            size: int = len(data) + len(link.url)
        async for link, found in bp.read([link], errors="yield"):
            if isinstance(found, bp.TransferError):
                print(found.code, status, size)
    bp.get_outcomes("links.csv", to="data/", concurency=8)  # misspelt
    bp.get_outcomes([1], to="data/")  # no row
    bp.Presigner(session="a profile")  # no session
    await bp.sign("keys.csv", method="PATCH")  # no method
    presigner.sign_batch([], "put")  # in small letters


asyncio.run(main())
"""


def test_a_program_is_checked(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(program)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    errors = [line for line in ran.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 5, ran.stdout + ran.stderr
    assert 'Unexpected keyword argument "concurency"' in errors[0]
    assert "list[int]" in errors[1] or "List item 0" in errors[1]
    assert 'Argument "session" to "Presigner" has incompatible type "str"; expected "AwsSession | None"' in errors[2]
    assert 'Argument "method" to "sign" has incompatible type' in errors[3]
    assert 'Argument 2 to "sign_batch" of "Presigner" has incompatible type' in errors[4]


SESSIONS = """
import aioboto3

import bulkpresign as bp

bp.Presigner(session=aioboto3.Session(profile_name="a"))
"""


def test_a_session_of_aioboto3_is_one(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SESSIONS)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", str(program)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert ran.returncode == 0, ran.stdout + ran.stderr
