"""Listings of multipart uploads, and of the parts of an upload."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import unquote_plus

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
        listed = f"the uploads under s3://{bucket}/{prefix}"
        async for page in self._upload_pages(bucket, prefix, listed):
            try:
                found = _uploads(page)
            except (KeyError, OverflowError):
                raise ListingError(f"{listed} can't be listed: one has no key, no id or no valid time") from None
            for key, _, _ in found:
                if not key.startswith(prefix):  # an abort of all that is listed would end uploads of others
                    raise ListingError(f"{listed} can't be listed: the server lists {key!r} as well")
            yield found

    async def _upload_pages(self, bucket: str, prefix: str, listed: str) -> AsyncIterator[dict[str, Any]]:
        """The pages of a listing of uploads.

        botocore's paginator would send the marker of the next page as it comes, which may be url-encoded.
        """
        client = await self._regions.client_for(bucket)
        after, page = dict[str, str](), dict[str, Any]()
        with listing_errors(listed):
            while not page or page.get("IsTruncated"):
                page = await _upload_page(client, Bucket=bucket, Prefix=prefix, **after)
                yield page
                marker = {"KeyMarker": _key(page, page.get("NextKeyMarker", ""))}
                marker["UploadIdMarker"] = page.get("NextUploadIdMarker", "")
                if page.get("IsTruncated") and marker == after:
                    raise ListingError(f"{listed} can't be listed: the server gives the same page again")
                after = marker

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


async def _upload_page(client: Any, **settings: str) -> dict[str, Any]:
    """A page of a listing of uploads.

    Keys that XML can't have make it invalid, which botocore reports as an error of the server. Then they are asked for
    url-encoded. That is not what is tried first: SeaweedFS says that it does so, and does not.
    """
    try:
        return cast("dict[str, Any]", await client.list_multipart_uploads(**settings))
    except client.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
            raise
        page = cast("dict[str, Any]", await client.list_multipart_uploads(**settings, EncodingType="url"))
        return {**page, "IsEncoded": page.get("EncodingType") == "url"}


def _uploads(page: dict[str, Any]) -> list[tuple[str, str, datetime]]:
    return [
        (_key(page, item["Key"]), item["UploadId"], item["Initiated"].astimezone(UTC))
        for item in page.get("Uploads", ())
    ]


def _key(page: dict[str, Any], text: str) -> str:
    """A key of a page, as plain text."""
    return unquote_plus(text) if page.get("IsEncoded") else text
