"""Hand an upload to another program. A PUT link is more than its url: the signed headers have to be sent as well.

python examples/upload_with_curl.py BUCKET KEY FILE
"""

import asyncio
import subprocess
import sys

from bulkpresign import Presigner


async def main(bucket: str, key: str, file: str) -> None:
    async with Presigner(expires_in=900) as presigner:
        link = await presigner.presign(
            "put_object",
            {"Bucket": bucket, "Key": key, "ContentType": "text/plain", "Metadata": {"origin": "curl"}},
        )
    headers = [part for name, value in link.headers.items() for part in ("--header", f"{name}: {value}")]
    subprocess.run(["curl", "--fail", "--silent", "--upload-file", file, *headers, link.url], check=True)
    print(f"uploaded {file} to s3://{bucket}/{key} with curl and {len(link.headers)} signed headers")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
