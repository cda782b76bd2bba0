"""Links for other operations than a download: the HTTP method is the one that the operation has.

python examples/any_operation.py BUCKET KEY
"""

import asyncio
import sys

import requests

from bulkpresign import create_presigned_url_expanded


async def main(bucket: str, key: str) -> None:
    buckets = await create_presigned_url_expanded("list_buckets")
    head = await create_presigned_url_expanded("head_object", {"Bucket": bucket, "Key": key}, expiration=60)
    listing = await create_presigned_url_expanded("list_objects_v2", {"Bucket": bucket, "MaxKeys": 10})
    delete = await create_presigned_url_expanded("delete_object", {"Bucket": bucket, "Key": key})
    if not (buckets and head and listing and delete):
        sys.exit("a link could not be made; the log says why")
    print("list_buckets:", requests.get(buckets, timeout=30).status_code)
    print("head_object:", requests.head(head, timeout=30).headers["Content-Length"], "bytes")
    print("list_objects_v2:", f"<Key>{key}</Key>" in requests.get(listing, timeout=30).text)
    print("delete_object:", requests.delete(delete, timeout=30).status_code)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
