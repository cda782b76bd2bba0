"""Feed objects to a program of your own, such as a model: verified bytes in memory, nothing on disk.

python examples/read_into_memory.py s3://BUCKET/PREFIX/
"""

import asyncio
import hashlib
import sys

import bulkpresign as bp


async def main(source: str) -> None:
    async with bp.Presigner() as presigner, bp.read(source, presigner=presigner, concurrency=32) as reading:
        async for link, data in reading:
            print(f"{link.object.key}: {hashlib.sha256(data).hexdigest()[:12]}")
    print(f"{reading.report.done} objects, {reading.report.bytes:,} bytes")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
