"""Multipart uploads: tables of their sizes, and those that are open on a server."""

from pathlib import Path
from typing import Any

from tests.servers.proxy import Seen
from tests.support.folders import write_all

MIB = 1 << 20
PART = 5 * MIB


def open_uploads(client: Any, bucket: str) -> list[str]:
    """The keys for which an upload is open."""
    return sorted(row["Key"] for row in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def table_of(folder: Path, bucket: str, bodies: dict[str, bytes]) -> Path:
    """Files in `in`, and `keys.csv` with their sizes."""
    write_all(folder / "in", bodies)
    rows = [f"{bucket},{key},{len(body)}\n" for key, body in bodies.items()]
    (folder / "keys.csv").write_text("".join(["bucket,key,size\n", *rows]))
    return folder / "keys.csv"


def is_look(seen: Seen) -> bool:
    """Whether a request asks which object has the key, as a run does before it completes an upload."""
    return seen.method == "GET" and seen.header("range") == "bytes=0-0"
