"""A process that has as many files open as it may: objects wait until others are closed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bulkpresign as bp
from tests.support.folders import files, write_all

BODIES = {f"{number:02}": os.urandom(100 + number) for number in range(10)}

#: Another part of the program takes all descriptors, before the first file or after it, until an object is retried.
PROGRAM = """
import asyncio, os, resource, sys
import bulkpresign as bp

resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
verb, bucket, folder = sys.argv[1:]
taken, codes, when = [], [], bp.RunStarted if verb == "put" else bp.ObjectFinished

def listen(event):
    if isinstance(event, bp.ObjectRetried):
        codes.append(event.code)
        while taken:
            os.close(taken.pop())
    while isinstance(event, when) and not codes:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            break

async def main():
    settings = {"concurrency": 1, "limit_rate": 500, "listeners": [listen]}
    if verb == "get":
        return await bp.get(f"s3://{bucket}/", folder, **settings)
    async with bp.Presigner() as presigner:
        links = presigner.sign_batch([bp.ObjectRef(bucket, name) for name in os.listdir(folder)], "PUT")
    return await bp.put(links, folder, **settings)

report = asyncio.run(main())
print(*codes, report.done, report.failed)
"""


@pytest.mark.parametrize("verb", ["get", "put"])
def test_objects_wait_until_files_are_closed(verb: str, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    folder = tmp_path / verb
    if verb == "put":
        write_all(folder, BODIES)
    command = [sys.executable, "-c", PROGRAM, verb, refs[0].bucket, str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert said.stdout.split() == ["TooManyOpenFiles", str(len(BODIES)), "0"], said.stdout + said.stderr
    assert files(folder) == BODIES
