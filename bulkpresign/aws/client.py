"""`Aws`: S3 with one configuration."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from bulkpresign.aws import presigning
from bulkpresign.aws.checks import check_signable
from bulkpresign.aws.credentials import Credentials, session_credentials
from bulkpresign.aws.errors import botocore_errors
from bulkpresign.aws.listings import Listings
from bulkpresign.aws.regions import AUTO, BucketRegions
from bulkpresign.aws.sessions import SAMPLE_EXPIRES_IN, SAMPLE_KEY, AwsSession, ClientSession


class Aws:
    """S3 with one configuration: the AWS chain, and the arguments, which override it.

    Use as an async context manager. Entering it reads configuration files, and sends no request.
    """

    def __init__(
        self,
        *,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        addressing_style: str = "auto",
        session: AwsSession | None = None,
        ca_bundle: str | None = None,
    ) -> None:
        self._session = ClientSession(
            region_name=None if region_name == AUTO else region_name,
            endpoint_url=endpoint_url,
            profile_name=profile_name,
            addressing_style=addressing_style,
            session=session,
            ca_bundle=ca_bundle,
        )
        self._regions = BucketRegions(self._session, is_auto=region_name == AUTO)
        self._listings = Listings(self._regions)

    async def __aenter__(self) -> Self:
        await self._session.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    @property
    def has_auto_region(self) -> bool:
        """True if each bucket is asked for its region."""
        return self._regions.is_auto

    def region_of(self, bucket: str) -> str | None:
        """The region of a bucket, None for the configured one. Raises RegionError if it has to be asked for first."""
        return self._regions.region_of(bucket)

    async def learn_regions(self, buckets: Iterable[str]) -> None:
        """With region `auto`, asks for the unknown regions of some buckets. Raises RegionError."""
        await self._regions.learn(buckets)

    async def credentials(self) -> Credentials:
        """The current credentials of the AWS chain; those that are about to expire are refreshed.

        Raises CredentialsError if there are none, or if a refresh fails.
        """
        return await session_credentials(self._session.session)

    async def presign(
        self, client_method: str, params: Mapping[str, Any], expires_in: int, http_method: str | None
    ) -> tuple[str, str, dict[str, str]]:
        """One link for any client method: the HTTP method, the url, and the headers that must be sent with it."""
        check_signable(params.get("Bucket"))
        client = await self._regions.client_for(params.get("Bucket"))
        return await presigning.presign(client, client_method, params, expires_in, http_method)

    async def presign_post(
        self,
        bucket: str,
        key: str,
        fields: Mapping[str, str] | None,
        conditions: Sequence[Any] | None,
        expires_in: int,
    ) -> tuple[str, dict[str, str]]:
        """The url and fields of one upload form, as `generate_presigned_post` gives them."""
        check_signable(bucket)
        client = await self._regions.client_for(bucket)
        with botocore_errors():
            post = await client.generate_presigned_post(
                bucket, key, dict(fields or {}), list(conditions or []), expires_in
            )
        return post["url"], post["fields"]

    def sample_link(self, bucket: str, region: str | None = None) -> str:
        """A link to `SAMPLE_KEY` in a bucket, signed by botocore with `SAMPLE_CREDENTIALS`. Never waits.

        It shows all of botocore's rules for endpoints, addressing and partitions.
        """
        check_signable(bucket)
        target, sampler = {"Bucket": bucket, "Key": SAMPLE_KEY}, self._session.sampler(region)
        with botocore_errors():
            url = presigning.run_without_waiting(
                sampler.generate_presigned_url("get_object", target, SAMPLE_EXPIRES_IN)
            )
        return str(url)

    def sample_post(self, bucket: str, region: str | None = None) -> str:
        """The url of an upload form for a bucket. Never waits."""
        sampler = self._session.sampler(region)
        with botocore_errors():
            post = presigning.run_without_waiting(sampler.generate_presigned_post(bucket, SAMPLE_KEY))
        return str(post["url"])

    def list_uploads(self, bucket: str, prefix: str) -> AsyncIterator[list[tuple[str, str, datetime]]]:
        """The open multipart uploads under a prefix, a page at a time: key, upload id, and the time it was created.

        Raises ListingError.
        """
        return self._listings.list_uploads(bucket, prefix)

    async def list_parts(self, bucket: str, key: str, upload_id: str) -> dict[int, tuple[str, int]] | None:
        """The etag and the size of each part of an upload, by part number. None if there is no such upload.

        Raises ListingError.
        """
        return await self._listings.list_parts(bucket, key, upload_id)
