"""The endpoints of buckets, each found once."""

from collections.abc import Mapping

import msgspec

from bulkpresign.aws import Aws
from bulkpresign.signing.checks import check_target
from bulkpresign.signing.endpoint import Endpoint
from bulkpresign.signing.sample import endpoint_of_sample


class EndpointCache:
    """Endpoints and form urls by bucket and region. Never waits, and sends no request."""

    def __init__(self, aws: Aws, reading: Mapping[str, str]) -> None:
        """`reading` are the query parameters of all GET and HEAD links."""
        self._aws, self._reading = aws, reading
        self._endpoints: dict[tuple[str, str | None], Endpoint] = {}
        self._form_urls: dict[tuple[str, str | None], str] = {}

    def clear(self) -> None:
        """Forgets all of them."""
        self._endpoints.clear()
        self._form_urls.clear()

    def endpoint(self, bucket: str, region: str | None = None) -> Endpoint:
        """The endpoint of a bucket's links. Raises ParameterError, RegionError and SigningError."""
        region = region or self._aws.region_of(bucket)
        endpoint = self._endpoints.get((bucket, region))
        if endpoint is None:
            check_target({"Bucket": bucket})
            endpoint = endpoint_of_sample(self._aws.sample_link(bucket, region))
            if self._reading:
                endpoint = msgspec.structs.replace(endpoint, reading=self._reading)
            self._endpoints[bucket, region] = endpoint
        return endpoint

    def form_url(self, bucket: str, region: str | None) -> str:
        """The url of a bucket's upload forms. Raises RegionError and SigningError."""
        region = region or self._aws.region_of(bucket)
        url = self._form_urls.get((bucket, region))
        if url is None:
            url = self._form_urls[bucket, region] = self._aws.sample_post(bucket, region)
        return url
