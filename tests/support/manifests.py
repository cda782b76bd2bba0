"""Manifests of files that are in a folder."""

import hashlib
from pathlib import Path


def filled(folder: Path, count: int, size: int = 100) -> list[dict[str, object]]:
    """Files in a folder, and the rows that are true of them."""
    rows: list[dict[str, object]] = []
    for number in range(count):
        path = folder / f"d{number % 7}" / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = str(number).encode() * size
        path.write_bytes(data)
        etag = hashlib.md5(data).hexdigest()
        rows.append({"bucket": "bkt", "key": f"d{number % 7}/{number}", "size": len(data), "etag": etag})
    return rows
