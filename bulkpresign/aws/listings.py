"""Listings: objects, multipart uploads, and the parts of an upload."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bulkpresign.aws.errors import listing_errors
from bulkpresign.aws.regions import BucketRegions
from bulkpresign.model import ObjectRef

#: Error codes of a user who may not list a bucket, and of servers without listings.
_NOT_ALLOWED = frozenset({"AccessDenied", "Forbidden", "403", "MethodNotAllowed", "NotImplemented"})
#: Error codes of an upload that does not exist; Ceph sends the second one.
_NO_UPLOAD = frozenset({"NoSuchUpload", "NoSuchKey"})


class Listings:
    """Lists buckets. Every method raises ListingError if a request fails."""

    def __init__(self, regions: BucketRegions) -> None:
        self._regions = regions

    async def list_objects(
        self, bucket: str, prefix: str, *, base: str | None = None
    ) -> AsyncIterator[list[ObjectRef]]:
        """The objects under a prefix, a page (up to 1,000) at a time, with size, etag and `last_modified`.

        The path of an object is its key after `base`, by default after the prefix.
        """
        client = await self._regions.client_for(bucket)
        start = len(prefix if base is None else base)
        with listing_errors(f"s3://{bucket}/{prefix}"):
            async for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                yield [_object_ref(bucket, item, item["Key"][start:]) for item in page.get("Contents", ())]

    async def find_object(self, bucket: str, key: str) -> tuple[ObjectRef | None, bool]:
        """The object of a key, None if there is none; and True if there are objects under `key/`.

        If listings are not allowed, the object is returned without size and etag.
        """
        client = await self._regions.client_for(bucket)
        with listing_errors(f"s3://{bucket}/{key}"):
            try:
                page = await client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
                if (found := page.get("Contents")) and found[0]["Key"] == key:
                    return _object_ref(bucket, found[0], None), False
                below = await client.list_objects_v2(Bucket=bucket, Prefix=f"{key}/", MaxKeys=1)
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in _NOT_ALLOWED:
                    return ObjectRef(bucket, key), False
                raise
        return None, bool(below.get("Contents"))

    async def list_uploads(self, bucket: str, prefix: str) -> AsyncIterator[list[tuple[str, str, datetime]]]:
        """The open multipart uploads under a prefix, a page at a time: key, upload id, and the time it was created."""
        client = await self._regions.client_for(bucket)
        with listing_errors(f"the uploads under s3://{bucket}/{prefix}"):
            async for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
                yield [
                    (item["Key"], item["UploadId"], item["Initiated"].astimezone(UTC))
                    for item in page.get("Uploads", ())
                ]

    async def list_parts(self, bucket: str, key: str, upload_id: str) -> dict[int, tuple[str, int]] | None:
        """The etag and the size of each part of an upload, by part number. None if there is no such upload."""
        client = await self._regions.client_for(bucket)
        found: dict[int, tuple[str, int]] = {}
        with listing_errors(f"the parts of s3://{bucket}/{key}"):
            pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload_id)
            try:
                async for page in pages:
                    for item in page.get("Parts", ()):
                        found[item["PartNumber"]] = (item["ETag"].strip('"'), item["Size"])
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in _NO_UPLOAD:
                    return None
                raise
        return found


def _object_ref(bucket: str, item: Mapping[str, Any], path: str | None) -> ObjectRef:
    extra = {"last_modified": f"{item['LastModified'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    return ObjectRef(bucket, item["Key"], size=item["Size"], etag=item["ETag"].strip('"'), path=path, extra=extra)
