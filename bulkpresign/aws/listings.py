"""Listings of multipart uploads, and of the parts of an upload."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from bulkpresign.aws.errors import listing_errors
from bulkpresign.aws.regions import BucketRegions
from bulkpresign.errors import ListingError

#: Error codes of an upload that does not exist; Ceph sends the second one.
_NO_UPLOAD = frozenset({"NoSuchUpload", "NoSuchKey"})


class Listings:
    """Lists buckets. Every method raises ListingError if a request fails."""

    def __init__(self, regions: BucketRegions) -> None:
        self._regions = regions

    async def list_uploads(self, bucket: str, prefix: str) -> AsyncIterator[list[tuple[str, str, datetime]]]:
        """The open multipart uploads under a prefix, a page at a time: key, upload id, and the time it was created."""
        client = await self._regions.client_for(bucket)
        listed = f"the uploads under s3://{bucket}/{prefix}"
        with listing_errors(listed):
            async for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
                try:
                    found = list(map(_upload, page.get("Uploads", ())))
                except (KeyError, OverflowError):
                    raise ListingError(f"{listed} can't be listed: one has no key, no id or no valid time") from None
                for key, _, _ in found:
                    if not key.startswith(prefix):  # an abort of all that is listed would end uploads of others
                        raise ListingError(f"{listed} can't be listed: the server lists {key!r} as well")
                yield found

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


def _upload(item: dict[str, Any]) -> tuple[str, str, datetime]:
    return item["Key"], item["UploadId"], item["Initiated"].astimezone(UTC)
