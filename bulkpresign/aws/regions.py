"""The regions of buckets. With region `auto`, each bucket is asked once for its own."""

import re
from collections.abc import Iterable
from typing import Any

import anyio

from bulkpresign.aws.checks import check_signable
from bulkpresign.aws.errors import request_errors
from bulkpresign.aws.sessions import ClientSession
from bulkpresign.errors import BulkpresignError, RegionError

#: The region name with which each bucket is asked for its own region.
AUTO = "auto"
_MAX_REQUESTS = 16
_ARN_REGION = re.compile(r"arn:[^:]*:[^:]*:([^:]+):")


class BucketRegions:
    """Finds and remembers the region of each bucket. Without `is_auto`, every bucket has the configured region."""

    def __init__(self, session: ClientSession, *, is_auto: bool) -> None:
        self._session = session
        #: True if each bucket is asked for its region.
        self.is_auto = is_auto
        self._lock = anyio.Lock()
        self._regions: dict[str, str] = {}

    def region_of(self, bucket: str) -> str | None:
        """The region of a bucket, None for the configured one. Raises RegionError if `learn` has to be called first."""
        if not self.is_auto:
            return None
        region = self._regions.get(bucket)
        if region is None:
            raise RegionError(f"{bucket}: its region is not known yet: await presigner.refresh([{bucket!r}])")
        return region

    async def client_for(self, bucket: object) -> Any:
        """A client of the bucket's region. Asks for the region if it is not known yet."""
        if not isinstance(bucket, str):
            return await self._session.client()
        await self.learn([bucket])
        return await self._session.client(self.region_of(bucket))

    async def learn(self, buckets: Iterable[str]) -> None:
        """Asks for the unknown regions of some buckets, several at a time, each once.

        Raises RegionError for the first bucket whose region can't be found; the regions that were found are kept.
        """
        if not self.is_auto:
            return
        async with self._lock:
            unknown = [bucket for bucket in dict.fromkeys(buckets) if bucket not in self._regions]
            limiter, failed = anyio.CapacityLimiter(_MAX_REQUESTS), dict[str, BulkpresignError]()

            async def learn(bucket: str) -> None:
                try:
                    async with limiter:
                        self._regions[bucket] = await self._request_region(bucket)
                except BulkpresignError as error:
                    failed[bucket] = error

            async with anyio.create_task_group() as group:
                for bucket in unknown:
                    group.start_soon(learn, bucket)
        for bucket in unknown:
            if bucket in failed:
                raise failed[bucket]

    async def _request_region(self, bucket: str) -> str:
        """Sends HeadBucket, then GetBucketLocation.

        The response of HeadBucket names the region even if it is a refusal or a redirect; not all servers do that.
        A server that is not AWS and takes the region `auto` as it is, such as Cloudflare R2, is asked nothing more: its
        GetBucketLocation may be denied, or names a place that is not a region.
        Source: docs "HeadBucket", "GetBucketLocation": no constraint is us-east-1, `EU` is eu-west-1; docs "S3 API
        compatibility" of Cloudflare R2.
        """
        from botocore.exceptions import ClientError

        check_signable(bucket)
        if found := _ARN_REGION.match(bucket):
            return found[1]
        client, asking = await self._session.client(), await self._session.client(AUTO)
        is_aws = asking.meta.endpoint_url != client.meta.endpoint_url  # which has an endpoint for each region
        is_taken = False
        with request_errors(RegionError, f"the region of {bucket} can't be found"):
            try:
                response = await (client if is_aws else asking).head_bucket(Bucket=bucket)
                is_taken = not is_aws
            except ClientError as refusal:
                response = refusal.response
            if region := response["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region"):
                return str(region)
            if is_taken:
                return AUTO
            location = (await client.get_bucket_location(Bucket=bucket)).get("LocationConstraint")
        return {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(location) or str(location)
