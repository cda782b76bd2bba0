"""`Presigner`: credentials on one side, links on the other."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from operator import attrgetter
from typing import Any, Self

import anyio.lowlevel

from bulkpresign.aws import Aws, Credentials
from bulkpresign.errors import CredentialsError, ParameterError
from bulkpresign.model import (
    Link,
    ObjectRef,
    Post,
    Upload,
    bucket_problem,
    key_problem,
    keys_are_plain,
    utc_now,
)
from bulkpresign.signing.batch import Batch, by_kind, region_of
from bulkpresign.signing.endpoint import Endpoint
from bulkpresign.signing.expiry import check_expires_in, expires_at
from bulkpresign.signing.kept import kept_of
from bulkpresign.signing.options import METHODS, LinkOptions
from bulkpresign.signing.post import Condition, PostSigner
from bulkpresign.signing.sample import endpoint_of_sample
from bulkpresign.signing.sigv4 import Signer
from bulkpresign.signing.uploads import upload_of

BATCH_SIZE = 1024


class Presigner:
    """Signs links: any S3 operation one at a time, and GET, PUT, HEAD, DELETE of objects by the hundred thousand.

        async with Presigner(region_name="eu-west-1") as presigner:
            urls = presigner.url_batch("bucket", ["a.txt", "b.txt"])

    Credentials, region and endpoint come from the AWS chain unless given. `expires_in` (seconds, at most 7 days) is the
    default for every link. The batch methods (`url_batch`, `sign_batch`, `post_batch`) never wait: they raise
    CredentialsError where the credentials have lapsed; `sign`, `presign` and `refresh` renew them. With the region
    `auto`, each bucket is asked once for its own; there, batches raise RegionError until that was done.
    Every url is byte for byte the one that botocore gives with `signature_version="s3v4"`.
    """

    def __init__(  # noqa: PLR0917 - the order is the contract's
        self,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        addressing_style: str = "auto",
        expires_in: int = 3600,
        session: Any = None,
        *,
        ca_bundle: str | None = None,
    ) -> None:
        self.expires_in = check_expires_in(expires_in)
        self._aws = Aws(
            region_name=region_name,
            endpoint_url=endpoint_url,
            profile_name=profile_name,
            addressing_style=addressing_style,
            session=session,
            ca_bundle=ca_bundle,
        )
        self._credentials: Credentials | None = None
        self._endpoints: dict[tuple[str, str | None], Endpoint] = {}
        self._post_urls: dict[tuple[str, str | None], str] = {}

    async def __aenter__(self) -> Self:
        await self._aws.__aenter__()
        try:
            await self.refresh()
        except BaseException:
            await self._aws.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._credentials = None
        await self._aws.__aexit__(*exc_info)

    @property
    def is_open(self) -> bool:
        """True inside `async with`."""
        return self._credentials is not None

    @property
    def aws(self) -> Aws:
        """The door to S3 with the same credentials, for listings."""
        return self._aws

    async def refresh(self, buckets: Iterable[str] = ()) -> None:
        """Takes the credentials as they are now, renewed where they are about to lapse.

        Under region `auto` it also asks for the regions of `buckets` that are not known yet; each once, all at the same
        time. Raises CredentialsError, and RegionError for a bucket whose region can't be found.
        """
        if isinstance(buckets, str):
            raise ParameterError("buckets is a list of buckets, not one")
        self._credentials = await self._aws.credentials()
        await self._aws.learn_regions(buckets)

    async def prepare(self, objects: Iterable[ObjectRef]) -> None:
        """Waits for all that a batch of these objects needs, so that signing it does not: see `refresh`."""
        await self.refresh(
            {ref.bucket for ref in objects if region_of(ref) is None} if self._aws.has_auto_region else ()
        )

    async def presign(
        self,
        client_method: str,
        params: Mapping[str, Any] | None = None,
        expires_in: int | None = None,
        http_method: str | None = None,
    ) -> Link:
        """A link for any method of the S3 client, such as `list_buckets` or `upload_part`.

        The HTTP method is the operation's own unless given. `headers` of the link must be sent: they are what
        parameters such as `Metadata` become. Raises SigningError for a method or parameter that S3 does not have.
        """
        seconds, params = self._seconds(expires_in), params or {}
        _check_target(params)
        credentials = await self._renewed_credentials()
        now = utc_now()
        method, url, headers = await self._aws.presign(client_method, params, seconds, http_method)
        target = ObjectRef(params.get("Bucket", ""), params.get("Key", ""), params.get("VersionId"))
        return Link(method, url, headers, expires_at(now, seconds, credentials.expires_at), target)

    async def presign_post(
        self,
        bucket: str,
        key: str,
        fields: Mapping[str, str] | None = None,
        conditions: Sequence[Condition] | None = None,
        expires_in: int | None = None,
    ) -> Post:
        """An upload form, as botocore's `generate_presigned_post` gives it; `conditions` must allow the `fields`."""
        seconds = self._seconds(expires_in)
        _check_target({"Bucket": bucket, "Key": key})
        credentials = await self._renewed_credentials()
        now = utc_now()
        url, signed = await self._aws.presign_post(bucket, key, fields, conditions, seconds)
        return Post(url, signed, expires_at(now, seconds, credentials.expires_at), ObjectRef(bucket, key))

    def url_batch(
        self,
        bucket: str,
        keys: Iterable[str],
        method: str = "GET",
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> list[str]:
        """One url a key: the fastest way. `headers` are signed and must be sent; `query` holds response overrides."""
        if isinstance(keys, str):
            raise ParameterError("keys is a list of keys, not one")
        keys = list(keys)
        _check_keys(keys)
        credentials = self._valid_credentials()
        signer = Signer(
            self._endpoint(bucket),
            credentials,
            _check_method(method),
            now=utc_now(),
            expires_in=self._seconds(expires_in),
            headers=headers,
            query=query,
        )
        return signer.urls(keys)

    def sign_batch(
        self,
        objects: Iterable[ObjectRef],
        method: str = "GET",
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        options: LinkOptions | None = None,
    ) -> list[Link]:
        """One link an object, in order; arithmetic only.

        `headers` are signed into every link, `query` holds response overrides, `options` what links can carry by name.
        An object's own `extra` goes first, where it has an option's name or `region`. A PUT of an object that has a
        `content_type` or the `checksum` of a whole object signs that as well; a PUT can't name a version. A POST with
        `uploads` in its query opens a multipart upload, and carries what a PUT would.
        """
        batch = self._batch(method, expires_in, headers, query, options)
        refs = list(objects)
        _check_keys(_keys_of(refs))
        return batch.links(refs)

    def sign_again(
        self,
        links: Iterable[Link],
        method: str | None = None,
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        options: LinkOptions | None = None,
    ) -> list[Link]:
        """A fresh link for each of `links`, in order; arithmetic only.

        A link keeps its method, its headers and, in its query, its response overrides and the like. An object's own
        `extra`, `options`, `headers` and `query` go before that, as in `sign_batch`. `method` is for all of them: what
        does not fit it is dropped, such as response overrides for a PUT. Raises ParameterError for a link whose object
        has no bucket or key.
        """

        def signed(some: list[Link]) -> list[Link]:
            new = method or some[0].method
            batch = self._batch(new, expires_in, headers, query, options)
            refs = [link.object for link in some]
            _check_keys([ref.key for ref in refs])
            return batch.links_again(refs, [kept_of(link, new) for link in some])

        given = list(links)
        return by_kind(given, attrgetter("method"), signed) if given else []

    def _batch(
        self,
        method: str,
        expires_in: int | None,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        options: LinkOptions | None,
    ) -> Batch:
        """How links are signed now. A POST opens an upload: it has `uploads` in its query."""
        credentials, seconds, now = self._valid_credentials(), self._seconds(expires_in), utc_now()
        batch = Batch(
            method=method if method == "POST" and query else _check_method(method),
            credentials=credentials,
            now=now,
            expires_in=seconds,
            end=expires_at(now, seconds, credentials.expires_at),
            endpoint_of=self._endpoint,
            headers=headers or {},
            query=query or {},
            options=options or LinkOptions(),
        )
        batch.options.check(method)
        return batch

    def sign_upload(
        self,
        ref: ObjectRef,
        upload_id: str,
        part_size: int,
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Upload:
        """The links of a multipart upload that is open: one a part, one to complete it, one to end it; arithmetic only.

        `ref` has its size. `headers` are those of a PUT of the whole object: each link signs of them what S3 wants
        there. Columns that a manifest carries (`upload_id`, `part_number`, `offset`) stand in the links' objects.
        """
        credentials, seconds, now = self._valid_credentials(), self._seconds(expires_in), utc_now()
        end = expires_at(now, seconds, credentials.expires_at)

        def signer(method: str, signed: Mapping[str, str]) -> Signer:
            return Signer(
                self._endpoint(ref.bucket, region_of(ref)),
                credentials,
                method,
                now=now,
                expires_in=seconds,
                headers=signed,
                query={"uploadId": upload_id},
            )

        return upload_of(signer, ref, upload_id, part_size, headers=headers or {}, end=end)

    async def sign(
        self,
        objects: AsyncIterable[ObjectRef] | Iterable[ObjectRef],
        method: str = "GET",
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        options: LinkOptions | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> AsyncIterator[list[Link]]:
        """Links in batches, for any length of input; renews the credentials while it runs, and learns regions."""
        if batch_size < 1:
            raise ParameterError(f"batch_size of {batch_size} is not at least 1")
        async with aclosing(_batches(objects, batch_size)) as batches:
            async for batch in batches:
                _keys_of(batch)
                await self.prepare(batch)
                yield self.sign_batch(
                    batch, method, expires_in=expires_in, headers=headers, query=query, options=options
                )
                await anyio.lowlevel.checkpoint()

    def post_batch(
        self,
        objects: Iterable[ObjectRef],
        fields: Mapping[str, str] | None = None,
        conditions: Sequence[Condition] = (),
        *,
        expires_in: int | None = None,
    ) -> list[Post]:
        """One upload form an object, in order; arithmetic only. `fields` must be allowed by `conditions`."""
        credentials, seconds, now = self._valid_credentials(), self._seconds(expires_in), utc_now()
        end = expires_at(now, seconds, credentials.expires_at)

        def posts_of(alike: list[ObjectRef]) -> Iterable[Post]:
            bucket, region = alike[0].bucket, region_of(alike[0])
            signer = PostSigner(
                self._endpoint(bucket, region),
                credentials,
                bucket,
                now=now,
                expires_in=seconds,
                fields=fields,
                conditions=conditions,
            )
            url = self._post_url(bucket, region)
            return (Post(url, signer.fields(ref.key), end, ref) for ref in alike)

        refs = list(objects)
        _check_keys([ref.key for ref in refs])
        return by_kind(refs, lambda ref: (ref.bucket, region_of(ref)), posts_of)

    def _seconds(self, expires_in: int | None) -> int:
        return self.expires_in if expires_in is None else check_expires_in(expires_in)

    def _valid_credentials(self) -> Credentials:
        if self._credentials is None:
            raise CredentialsError("a Presigner is used inside `async with`")
        end = self._credentials.expires_at
        if end is not None and end <= utc_now():
            raise CredentialsError(f"the credentials lapsed at {end:%Y-%m-%d %H:%M:%S %Z}: await presigner.refresh()")
        return self._credentials

    async def _renewed_credentials(self) -> Credentials:
        """Credentials that are at most as fresh as those that sign next, so that a link never promises too much."""
        await self.refresh()
        return self._valid_credentials()

    def _endpoint(self, bucket: str, region: str | None = None) -> Endpoint:
        region = region or self._aws.region_of(bucket)
        endpoint = self._endpoints.get((bucket, region))
        if endpoint is None:
            _check_target({"Bucket": bucket})
            endpoint = endpoint_of_sample(self._aws.sample_link(bucket, region))
            self._endpoints[bucket, region] = endpoint
        return endpoint

    def _post_url(self, bucket: str, region: str | None) -> str:
        region = region or self._aws.region_of(bucket)
        url = self._post_urls.get((bucket, region))
        if url is None:
            url = self._post_urls[bucket, region] = self._aws.sample_post(bucket, region)
        return url


def _check_method(method: str) -> str:
    if method not in METHODS:
        raise ParameterError(f"method {method!r} is none of {', '.join(METHODS)}: use presign for other operations")
    return method


def _check_keys(keys: Sequence[str]) -> None:
    if not keys_are_plain(keys):
        for key in keys:
            if problem := key_problem(key):
                raise ParameterError(f"key {key[:80]!r}: {problem}")


def _keys_of(refs: Sequence[ObjectRef]) -> list[str]:
    """The keys of some objects. Raises TypeError for a row that is none; a whole batch costs no look at each."""
    try:
        return [ref.key for ref in refs]
    except AttributeError:
        number, row = next((number, row) for number, row in enumerate(refs, 1) if not isinstance(row, ObjectRef))
        hint = "; url_batch takes keys" if isinstance(row, str) else ""
        raise TypeError(f"row {number} is of type {type(row).__name__}; an ObjectRef is taken{hint}") from None


def _check_target(params: Mapping[str, Any]) -> None:
    """Raises ParameterError for a bucket or key that can't be. What is no text at all, botocore refuses."""
    bucket, key = params.get("Bucket"), params.get("Key")
    if isinstance(bucket, str) and (problem := bucket_problem(bucket)):
        raise ParameterError(problem)
    if isinstance(key, str):
        _check_keys([key])


async def _batches(
    objects: AsyncIterable[ObjectRef] | Iterable[ObjectRef], size: int
) -> AsyncGenerator[list[ObjectRef], None]:
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
