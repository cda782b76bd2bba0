"""From Python: a million keys become links, and links become files, with every outcome in hand.

python examples/hand_out_a_dataset.py s3://BUCKET/PREFIX/ FOLDER
"""

import asyncio
import sys
from pathlib import Path

import bulkpresign as bp
from bulkpresign.events import Event, ObjectFinished


def note_failures(event: Event) -> None:
    if isinstance(event, ObjectFinished) and event.outcome.status == "failed":
        print(f"failed: {event.outcome.object.uri}: {event.outcome.message}")


async def main(source: str, folder: str) -> None:
    manifest = Path(folder, "links.csv")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    signed = await bp.sign(source, manifest, expires_in=3600)
    report = await bp.get(manifest, to=Path(folder, "data"), concurrency=32, listeners=[note_failures])
    print(f"{signed.done} links signed; {report.done} files, {report.failed} failures, {report.bytes:,} bytes")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
