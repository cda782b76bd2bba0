"""`Presigner`: credentials on one side, links on the other."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from itertools import groupby, islice, repeat
from operator import attrgetter
from typing import Any, Self

import anyio.lowlevel

from bulkpresign.aws import Aws, Credentials
from bulkpresign.errors import CredentialsError, ParameterError
from bulkpresign.model import Link, ObjectRef, Post, bucket_problem, key_problem, keys_are_plain, utc_now
from bulkpresign.signing.endpoint import Endpoint
from bulkpresign.signing.expiry import check_expires_in, expires_at
from bulkpresign.signing.post import Condition, PostSigner
from bulkpresign.signing.sigv4 import Signer

METHODS = ("GET", "PUT", "HEAD", "DELETE")
BATCH_SIZE = 1024


class Presigner:
    """Signs links: any S3 operation one at a time, and GET, PUT, HEAD, DELETE of objects by the hundred thousand.

        async with Presigner(region_name="eu-west-1") as presigner:
            urls = presigner.url_batch("bucket", ["a.txt", "b.txt"])

    Credentials, region and endpoint come from the AWS chain unless given. `expires_in` (seconds, at most 7 days) is the
    default for every link. The batch methods (`url_batch`, `sign_batch`, `post_batch`) never wait: they raise
    CredentialsError where the credentials have lapsed; `sign`, `presign` and `refresh` renew them.
    Every url is byte for byte the one that botocore gives with `signature_version="s3v4"`.
    """

    def __init__(
        self,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        addressing_style: str = "auto",
        expires_in: int = 3600,
        session: Any = None,
    ) -> None:
        self.expires_in = check_expires_in(expires_in)
        self._aws = Aws(
            region_name=region_name,
            endpoint_url=endpoint_url,
            profile_name=profile_name,
            addressing_style=addressing_style,
            session=session,
        )
        self._credentials: Credentials | None = None
        self._endpoints: dict[str, Endpoint] = {}

    async def __aenter__(self) -> Self:
        await self._aws.__aenter__()
        try:
            await self.refresh()
        except BaseException:
            await self._aws.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._aws.__aexit__(*exc_info)

    @property
    def aws(self) -> Aws:
        """The door to S3 with the same credentials, for listings."""
        return self._aws

    async def refresh(self) -> None:
        """Takes the credentials as they are now, renewed where they are about to lapse."""
        self._credentials = await self._aws.credentials()

    async def presign(
        self,
        client_method: str,
        params: Mapping[str, Any] | None = None,
        expires_in: int | None = None,
        http_method: str | None = None,
    ) -> Link:
        """A link for any method of the S3 client, such as `list_buckets` or `upload_part`.

        The HTTP method is the operation's own unless given. Raises SigningError for a method or parameter that S3 does
        not have.
        """
        seconds = self._seconds(expires_in)
        await self.refresh()
        now = utc_now()
        params = params or {}
        method, url, headers = await self._aws.presign(client_method, params, seconds, http_method)
        target = ObjectRef(params.get("Bucket", ""), params.get("Key", ""), params.get("VersionId"))
        return Link(method, url, headers, expires_at(now, seconds, self._valid_credentials().expires_at), target)

    async def presign_post(
        self,
        bucket: str,
        key: str,
        fields: Mapping[str, str] | None = None,
        conditions: list[Any] | None = None,
        expires_in: int | None = None,
    ) -> Post:
        """An upload form, as `generate_presigned_post` of botocore gives it."""
        seconds = self._seconds(expires_in)
        await self.refresh()
        now = utc_now()
        url, signed = await self._aws.presign_post(bucket, key, fields, conditions, seconds)
        end = expires_at(now, seconds, self._valid_credentials().expires_at)
        return Post(url, signed, end, ObjectRef(bucket, key))

    def url_batch(
        self,
        bucket: str,
        keys: Sequence[str],
        method: str = "GET",
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> list[str]:
        """One url a key: the fastest way. `headers` are signed and must be sent; `query` holds response overrides."""
        _check_keys(keys)
        signer = Signer(
            self._endpoint(bucket),
            self._valid_credentials(),
            _check_method(method),
            now=utc_now(),
            expires_in=self._seconds(expires_in),
            headers=headers,
            query=query,
        )
        return signer.urls(keys)

    def sign_batch(
        self,
        objects: Sequence[ObjectRef],
        method: str = "GET",
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> list[Link]:
        """One link an object, in order; arithmetic only.

        `headers` are signed into every link, `query` holds response overrides. A PUT of an object that has a
        `content_type` signs that as well.
        """
        credentials, seconds, now = self._valid_credentials(), self._seconds(expires_in), utc_now()
        end = expires_at(now, seconds, credentials.expires_at)
        verb = _check_method(method)
        links: list[Link] = []
        kinds = attrgetter("bucket", "content_type") if verb == "PUT" else attrgetter("bucket")
        for _, alike in groupby(objects, kinds):
            run = list(alike)
            signed = _signed_headers(headers, run[0].content_type if verb == "PUT" else None)
            signer = Signer(
                self._endpoint(run[0].bucket),
                credentials,
                verb,
                now=now,
                expires_in=seconds,
                headers=signed,
                query=query,
            )
            keys = [ref.key for ref in run]
            _check_keys(keys)
            versions = [ref.version_id for ref in run]
            urls = signer.urls(keys, versions if any(versions) else None)
            links += map(Link, repeat(verb), urls, repeat(signed), repeat(end), run)
        return links

    async def sign(
        self,
        objects: AsyncIterable[ObjectRef] | Iterable[ObjectRef],
        method: str = "GET",
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> AsyncIterator[list[Link]]:
        """Links in batches, for any length of input; renews the credentials while it runs."""
        async for batch in _batches(objects, batch_size):
            await self.refresh()
            yield self.sign_batch(batch, method, expires_in=expires_in, headers=headers, query=query)
            await anyio.lowlevel.checkpoint()

    def post_batch(
        self,
        objects: Sequence[ObjectRef],
        fields: Mapping[str, str] | None = None,
        conditions: Sequence[Condition] = (),
        *,
        expires_in: int | None = None,
    ) -> list[Post]:
        """One upload form an object, in order; arithmetic only. `fields` must be allowed by `conditions`."""
        credentials, seconds, now = self._valid_credentials(), self._seconds(expires_in), utc_now()
        end = expires_at(now, seconds, credentials.expires_at)
        posts: list[Post] = []
        for bucket, run in groupby(objects, attrgetter("bucket")):
            url = self._aws.sample_post(bucket)
            signer = PostSigner(self._endpoint(bucket), credentials, bucket, now=now, expires_in=seconds)
            posts += (Post(url, signer.fields(ref.key, fields or {}, conditions), end, ref) for ref in run)
        return posts

    def _seconds(self, expires_in: int | None) -> int:
        return self.expires_in if expires_in is None else check_expires_in(expires_in)

    def _valid_credentials(self) -> Credentials:
        if self._credentials is None:
            raise CredentialsError("a Presigner is used inside `async with`")
        end = self._credentials.expires_at
        if end is not None and end <= utc_now():
            raise CredentialsError(f"the credentials lapsed at {end:%Y-%m-%d %H:%M:%S %Z}: await presigner.refresh()")
        return self._credentials

    def _endpoint(self, bucket: str) -> Endpoint:
        endpoint = self._endpoints.get(bucket)
        if endpoint is None:
            if problem := bucket_problem(bucket):
                raise ParameterError(problem)
            endpoint = self._endpoints[bucket] = Endpoint.from_sample(self._aws.sample_link(bucket))
        return endpoint


def _check_method(method: str) -> str:
    if method not in METHODS:
        raise ParameterError(f"method {method!r} is none of {', '.join(METHODS)}: use presign for other operations")
    return method


def _check_keys(keys: Sequence[str]) -> None:
    if not keys_are_plain(keys):
        for key in keys:
            if problem := key_problem(key):
                raise ParameterError(f"key {key[:80]!r}: {problem}")


def _signed_headers(headers: Mapping[str, str] | None, content_type: str | None) -> Mapping[str, str]:
    if content_type is None:
        return headers or {}
    others = {name: value for name, value in (headers or {}).items() if name.lower() != "content-type"}
    return {"Content-Type": content_type, **others}


async def _batches(
    objects: AsyncIterable[ObjectRef] | Iterable[ObjectRef], size: int
) -> AsyncIterator[list[ObjectRef]]:
    if isinstance(objects, AsyncIterable):
        batch: list[ObjectRef] = []
        async for ref in objects:
            batch.append(ref)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
        return
    rows = iter(objects)
    while batch := list(islice(rows, size)):
        yield batch
