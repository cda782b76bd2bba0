"""The only door to aioboto3: credentials, presigning of any operation, sample links, regions, listings.

Nothing of botocore leaves this room: its exceptions become ours, its credentials become `Credentials`.
"""

import os
import re
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

import anyio
import msgspec

from bulkpresign.errors import (
    BulkpresignError,
    CredentialsError,
    InputError,
    ListingError,
    ParameterError,
    RegionError,
    SigningError,
)
from bulkpresign.model import ObjectRef
from bulkpresign.redact import redacted

T = TypeVar("T")


class AwsSession(Protocol):
    """An `aioboto3.Session`. aioboto3 brings no types of its own, so this names what is used of it."""

    @property
    def region_name(self) -> str | None:
        """The region of the environment or the profile."""

    def client(self, *args: Any, **kwargs: Any) -> Any:
        """A context manager of a client."""

    def get_credentials(self) -> Any:
        """An awaitable of the chain's credentials, or of None."""


class Credentials(msgspec.Struct, frozen=True):
    """What signs. `expires_at` is an aware UTC datetime, None for credentials that last."""

    access_key: str
    secret_key: str
    token: str | None = None
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key}, expires_at={self.expires_at})"


#: Signs the sample links, which are cut up and thrown away. No request is ever made with it.
SAMPLE_CREDENTIALS = Credentials("SAMPLE", "SAMPLE")
SAMPLE_KEY = "bulkpresign-sample"
SAMPLE_EXPIRES_IN = 3600

#: The region's name under which each bucket is asked for its own.
AUTO = "auto"
_REGIONS_AT_A_TIME = 16

# Buckets that take no SigV4 link (docs: "Directory bucket naming rules", "Multi-Region Access Point ARNs"). botocore,
# told to use SigV4, signs links to them that S3 refuses.
_DIRECTORY_SUFFIXES = ("--x-s3", "--xa-s3")
_MULTI_REGION_ARN = re.compile(r"arn:[^:]*:s3::")
_ARN_REGION = re.compile(r"arn:[^:]*:[^:]*:([^:]+):")

#: How servers say that a user may not list a bucket, or that they have no listings.
_NOT_ALLOWED = frozenset({"AccessDenied", "Forbidden", "403", "MethodNotAllowed", "NotImplemented"})

_SAMPLE_KEYS = {
    "aws_access_key_id": SAMPLE_CREDENTIALS.access_key,
    "aws_secret_access_key": SAMPLE_CREDENTIALS.secret_key,
}

_serialized_headers: ContextVar[dict[str, str]] = ContextVar("serialized_headers")


class Aws:
    """S3 as one configuration sees it: the AWS chain, with what was given explicitly going first.

    Use as an async context manager. Entering reads configuration files and asks the network for nothing.
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
        if addressing_style not in {"auto", "path", "virtual"}:
            raise ParameterError(f"addressing_style {addressing_style!r} is none of auto, path, virtual")
        if endpoint_url is not None:
            _check_endpoint_url(endpoint_url)
        if profile_name is not None and session is not None:
            raise ParameterError("profile_name and session are both given: a session has its own profile")
        self._given_region = None if region_name == AUTO else region_name
        #: True where each bucket is asked for its region.
        self.asks = region_name == AUTO
        self._endpoint_url = endpoint_url
        self._profile_name = profile_name
        self._ca_bundle = ca_bundle
        self._addressing_style = addressing_style
        self._session: Any = session
        self._stack = AsyncExitStack()
        self._opening, self._asking = anyio.Lock(), anyio.Lock()
        # By region; None: the one that was given, or the environment's.
        self._clients: dict[str | None, Any] = {}
        self._samplers: dict[str | None, Any] = {}
        self._regions: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        import aioboto3

        _check_ca_bundle(self._ca_bundle)
        with _own_errors():
            if self._session is None:
                self._session = aioboto3.Session(profile_name=self._profile_name)
            self._samplers[None] = await self._open(None, **_SAMPLE_KEYS)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._clients.clear()
        self._samplers.clear()
        await self._stack.aclose()

    async def _open(self, region: str | None, **credentials: str) -> Any:
        from botocore.config import Config

        # Left to itself botocore still makes SigV2 links in us-east-1, which newer regions refuse.
        style: Any = None if self._addressing_style == "auto" else {"addressing_style": self._addressing_style}
        client = await self._stack.enter_async_context(
            self._session.client(
                "s3",
                region_name=region or self._given_region or self._environment_region(),
                endpoint_url=self._endpoint_url,
                config=Config(signature_version="s3v4", s3=style),
                verify=self._ca_bundle,
                **credentials,
            )
        )
        client.meta.events.register_last("before-parameter-build.s3", _keep_serialized_headers)
        return client

    def _check_open(self) -> None:
        if not self._samplers:
            raise CredentialsError("a Presigner has its credentials inside `async with` alone")

    def _environment_region(self) -> str | None:
        # The other AWS SDKs and the command line read AWS_REGION; boto3 reads AWS_DEFAULT_REGION alone.
        return self._session.region_name or os.environ.get("AWS_REGION")

    async def _real_client(self, region: str | None = None) -> Any:
        async with self._opening:
            if region not in self._clients:
                with _own_errors():
                    self._clients[region] = await self._open(region)
        return self._clients[region]

    async def _client_for(self, bucket: object) -> Any:
        """A client of the bucket's region, which is asked for where it must be."""
        if not isinstance(bucket, str):
            return await self._real_client()
        await self.learn_regions([bucket])
        return await self._real_client(self.region_of(bucket))

    def _sampler(self, region: str | None) -> Any:
        """Opened without waiting, for its credentials are at hand."""
        if region not in self._samplers:
            self._check_open()
            with _own_errors():
                self._samplers[region] = _without_waiting(self._open(region, **_SAMPLE_KEYS))
        return self._samplers[region]

    def region_of(self, bucket: str) -> str | None:
        """The region of a bucket, None for the one that was given. Raises RegionError where it must be asked first."""
        if not self.asks:
            return None
        region = self._regions.get(bucket)
        if region is None:
            raise RegionError(f"{bucket}: its region is not known yet: await presigner.refresh([{bucket!r}])")
        return region

    async def learn_regions(self, buckets: Iterable[str]) -> None:
        """Under `auto`, asks for the regions of those buckets that are not known yet, some at a time, each once.

        Raises RegionError for a bucket that does not tell; what others told is kept.
        """
        if not self.asks:
            return
        async with self._asking:
            unknown = [bucket for bucket in dict.fromkeys(buckets) if bucket not in self._regions]
            limiter, failed = anyio.CapacityLimiter(_REGIONS_AT_A_TIME), dict[str, BulkpresignError]()

            async def learn(bucket: str) -> None:
                try:
                    async with limiter:
                        self._regions[bucket] = await self._asked_region(bucket)
                except BulkpresignError as error:
                    failed[bucket] = error

            async with anyio.create_task_group() as group:
                for bucket in unknown:
                    group.start_soon(learn, bucket)
        for bucket in unknown:
            if bucket in failed:
                raise failed[bucket]

    async def _asked_region(self, bucket: str) -> str:
        """HeadBucket tells the region even where it is refused or sent elsewhere; other servers know GetBucketLocation.

        Source: docs "HeadBucket", "GetBucketLocation": no constraint is us-east-1, `EU` is eu-west-1.
        """
        from botocore.exceptions import ClientError

        _check_signable(bucket)
        if named := _ARN_REGION.match(bucket):
            return named[1]
        client = await self._real_client()
        with _asking_errors(RegionError, f"the region of {bucket} can't be found"):
            try:
                told = await client.head_bucket(Bucket=bucket)
            except ClientError as refusal:
                told = refusal.response
            if region := told["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region"):
                return str(region)
            location = (await client.get_bucket_location(Bucket=bucket)).get("LocationConstraint")
        return {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(location) or str(location)

    async def credentials(self) -> Credentials:
        """The chain's credentials as they are now; refreshes those that are about to lapse.

        Raises CredentialsError where there are none or a refresh fails.
        """
        self._check_open()
        with _credentials_errors():
            source = await self._session.get_credentials()
            if source is None:
                raise CredentialsError(
                    "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with --profile"
                )
            frozen = await source.get_frozen_credentials()
        # botocore has no public name for the time at which credentials lapse.
        expires_at: datetime | None = getattr(source, "_expiry_time", None)
        return Credentials(
            frozen.access_key, frozen.secret_key, frozen.token, expires_at and expires_at.astimezone(UTC)
        )

    async def presign(
        self, client_method: str, params: Mapping[str, Any], expires_in: int, http_method: str | None
    ) -> tuple[str, str, dict[str, str]]:
        """One link for any client method: the HTTP method, the url, and the headers that must be sent with it."""
        _check_signable(params.get("Bucket"))
        client = await self._client_for(params.get("Bucket"))
        with _own_errors(hidden=_customer_keys(params)):
            given = (
                http_method.upper() if http_method else None
            )  # as it is sent: of botocore's signers one takes any case
            url = await client.generate_presigned_url(client_method, dict(params), expires_in, given)
            method = given or _http_method(client, client_method)
        return method.upper(), url, _signed_headers(url, _serialized_headers.get())

    async def presign_post(
        self,
        bucket: str,
        key: str,
        fields: Mapping[str, str] | None,
        conditions: Sequence[Any] | None,
        expires_in: int,
    ) -> tuple[str, dict[str, str]]:
        """The url and fields of one upload form, as `generate_presigned_post` gives them."""
        _check_signable(bucket)
        client = await self._client_for(bucket)
        with _own_errors():
            post = await client.generate_presigned_post(
                bucket, key, dict(fields or {}), list(conditions or []), expires_in
            )
        return post["url"], post["fields"]

    def sample_link(self, bucket: str, region: str | None = None) -> str:
        """A link to `SAMPLE_KEY` in a bucket, signed by botocore with `SAMPLE_CREDENTIALS`; never waits.

        All of botocore's rules for endpoints, addressing and partitions stand in it.
        """
        _check_signable(bucket)
        target, sampler = {"Bucket": bucket, "Key": SAMPLE_KEY}, self._sampler(region)
        with _own_errors():
            url = _without_waiting(sampler.generate_presigned_url("get_object", target, SAMPLE_EXPIRES_IN))
        return str(url)

    def sample_post(self, bucket: str, region: str | None = None) -> str:
        """The url to which an upload form for a bucket goes; never waits."""
        sampler = self._sampler(region)
        with _own_errors():
            post = _without_waiting(sampler.generate_presigned_post(bucket, SAMPLE_KEY))
        return str(post["url"])

    async def list_uploads(self, bucket: str, prefix: str) -> AsyncIterator[list[tuple[str, str, datetime]]]:
        """The multipart uploads under a prefix that are open, a page at a time: key, upload id, and when it was opened.

        Raises ListingError.
        """
        client = await self._client_for(bucket)
        with _listing_errors(f"the uploads under s3://{bucket}/{prefix}"):
            async for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
                yield [
                    (item["Key"], item["UploadId"], item["Initiated"].astimezone(UTC))
                    for item in page.get("Uploads", ())
                ]

    async def list_parts(self, bucket: str, key: str, upload_id: str) -> dict[int, tuple[str, int]] | None:
        """The parts that an upload has, by number: etag and size. None where there is no such upload.

        Raises ListingError.
        """
        client = await self._client_for(bucket)
        found: dict[int, tuple[str, int]] = {}
        with _listing_errors(f"the parts of s3://{bucket}/{key}"):
            pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload_id)
            try:
                async for page in pages:
                    for item in page.get("Parts", ()):
                        found[item["PartNumber"]] = (item["ETag"].strip('"'), item["Size"])
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in {"NoSuchUpload", "NoSuchKey"}:  # the latter is Ceph's word for it
                    return None
                raise
        return found

    async def list_objects(
        self, bucket: str, prefix: str, *, base: str | None = None
    ) -> AsyncIterator[list[ObjectRef]]:
        """The objects under a prefix, a page (up to 1,000) at a time, with size, etag and `last_modified`.

        Their path is the key after `base`, by default after the prefix. Raises ListingError.
        """
        client = await self._client_for(bucket)
        begin = len(prefix if base is None else base)
        with _listing_errors(f"s3://{bucket}/{prefix}"):
            async for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                yield [_listed(bucket, item, item["Key"][begin:]) for item in page.get("Contents", ())]

    async def find_object(self, bucket: str, key: str) -> tuple[ObjectRef | None, bool]:
        """The object of a key, None where there is none; then, whether there are objects under `key/`.

        Where listings are not allowed it is the object by its name alone. Raises ListingError.
        """
        client = await self._client_for(bucket)
        with _listing_errors(f"s3://{bucket}/{key}"):
            try:
                page = await client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
                if (found := page.get("Contents")) and found[0]["Key"] == key:
                    return _listed(bucket, found[0], None), False
                below = await client.list_objects_v2(Bucket=bucket, Prefix=f"{key}/", MaxKeys=1)
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in _NOT_ALLOWED:
                    return ObjectRef(bucket, key), False
                raise
        return None, bool(below.get("Contents"))


def _listed(bucket: str, item: Mapping[str, Any], path: str | None) -> ObjectRef:
    extra = {"last_modified": f"{item['LastModified'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    return ObjectRef(bucket, item["Key"], size=item["Size"], etag=item["ETag"].strip('"'), path=path, extra=extra)


def _check_endpoint_url(endpoint_url: str) -> None:
    try:
        parts = urlsplit(endpoint_url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ParameterError(f"endpoint_url {endpoint_url!r} is not http:// or https:// with a host")


def _check_ca_bundle(file: str | None) -> None:
    """Raises ParameterError for a bundle that is none; botocore would tell with its first request."""
    if file is None:
        return
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"{file} is no file of certificates: {error}") from error


def _check_signable(bucket: object) -> None:
    if not isinstance(bucket, str):
        return
    if bucket.endswith(_DIRECTORY_SUFFIXES):
        raise SigningError(
            f"{bucket}: a directory bucket takes links of its own sessions alone, which are not signed here"
        )
    if _MULTI_REGION_ARN.match(bucket):
        raise SigningError(f"{bucket}: a multi-region access point takes SigV4A alone, which is not signed here")


def _without_waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that has nothing to wait for, outside any event loop.

    aiobotocore presigns in coroutines, though with fixed credentials no step of it waits.
    """
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise SigningError(
        "links for this bucket can't be signed in batches, for botocore asks the network first: use presign"
    )


def _keep_serialized_headers(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Keeps the headers that an operation's parameters become; botocore hands out the url alone.

    Runs after botocore's own handlers, which encode metadata and add the md5 of customer keys.
    """
    from botocore.serialize import create_serializer

    request = create_serializer(model.metadata["protocol"]).serialize_to_request(params, model)
    _serialized_headers.set({name: str(value) for name, value in request["headers"].items()})


def _signed_headers(url: str, headers: Mapping[str, str]) -> dict[str, str]:
    query = parse_qs(urlsplit(url).query)
    names = set(query["X-Amz-SignedHeaders"][0].split(";")) - {"host"}
    signed = {name: value for name, value in headers.items() if name.lower() in names}
    if missing := names - {name.lower() for name in signed}:
        raise SigningError(f"the link signs headers of unknown value: {', '.join(sorted(missing))}")
    return signed


def _http_method(client: Any, client_method: str) -> str:
    operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[client_method])
    return str(operation.http["method"])


def _customer_keys(params: Mapping[str, Any]) -> list[str]:
    """The secrets among an operation's parameters, as a message of botocore would show them."""
    return [str(value) for name, value in params.items() if name.endswith("SSECustomerKey") and value]


@contextmanager
def _own_errors(hidden: Sequence[str] = ()) -> Iterator[None]:
    """Turns botocore's exceptions into ours. `hidden` are secrets that their messages may hold."""
    from botocore import exceptions as boto

    try:
        yield
    except BulkpresignError:
        raise
    except (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.ProfileNotFound,
        boto.SSOError,
        boto.TokenRetrievalError,
        boto.ConfigParseError,
        boto.InvalidConfigError,
        boto.ConfigNotFound,
        boto.MetadataRetrievalError,
        boto.InfiniteLoopConfigError,
    ) as error:
        raise CredentialsError(redacted(str(error))) from error
    except boto.ClientError as error:  # only fetching credentials sends requests here
        raise CredentialsError(f"credentials were refused: {redacted(str(error))}") from error
    except (boto.BotoCoreError, ValueError, TypeError) as error:
        message = redacted(str(error))
        for secret in hidden:
            message = message.replace(secret, "***")
        raise SigningError(message) from (None if hidden else error)


@contextmanager
def _credentials_errors() -> Iterator[None]:
    """Whatever goes wrong where credentials are fetched: network, file, program, a refresh that gives old ones."""
    from botocore.exceptions import BotoCoreError

    try:
        with _own_errors():
            yield
    except SigningError as error:
        raise CredentialsError(str(error)) from error
    except (BotoCoreError, RuntimeError, OSError, LookupError, AttributeError) as error:
        raise CredentialsError(f"credentials can't be fetched: {redacted(str(error))}") from error


def _listing_errors(place: str) -> AbstractContextManager[None]:
    return _asking_errors(ListingError, f"{place} can't be listed")


@contextmanager
def _asking_errors(raised: type[InputError], problem: str) -> Iterator[None]:
    """Turns a refusal, or no answer at all, into one error that begins with the problem."""
    from botocore import exceptions as boto

    try:
        with _own_errors():
            try:
                yield
            except (boto.ClientError, boto.HTTPClientError, boto.ConnectionError, SyntaxError) as error:  # of the XML
                raise raised(f"{problem}: {redacted(str(error))}") from error
    except SigningError as error:
        raise raised(f"{problem}: {error}") from error
