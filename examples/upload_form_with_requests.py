"""Let someone upload one file, no larger than 10 MiB, without an account.

python examples/upload_form_with_requests.py BUCKET KEY FILE
"""

import asyncio
import sys
from pathlib import Path

import requests

from bulkpresign import create_presigned_post

LIMIT = ["content-length-range", 0, 10 * 1024 * 1024]


def main(bucket: str, key: str, file: str) -> None:
    form = asyncio.run(create_presigned_post(bucket, key, conditions=[LIMIT], expiration=600))
    if form is None:
        sys.exit("no form could be made; the log says why")
    with Path(file).open("rb") as stream:
        # the file goes last: S3 ignores the fields behind it
        response = requests.post(form["url"], data=form["fields"], files={"file": stream}, timeout=60)
    response.raise_for_status()
    print(f"uploaded to s3://{bucket}/{key}: {response.status_code}")


if __name__ == "__main__":
    main(*sys.argv[1:])
