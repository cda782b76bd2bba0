"""Share one object: make a link, and open it as someone without an account would.

python examples/download_with_requests.py BUCKET KEY
"""

import asyncio
import sys

import requests

from bulkpresign import create_presigned_url


def main(bucket: str, key: str) -> None:
    url = asyncio.run(create_presigned_url(bucket, key, expiration=300))
    if url is None:
        sys.exit("no link could be made; the log says why")
    response = requests.get(url, timeout=30)
    response.raise_for_status()
    print(f"{key}: {len(response.content):,} bytes, no credentials used")


if __name__ == "__main__":
    main(*sys.argv[1:])
