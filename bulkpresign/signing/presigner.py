"""`Presigner`: signs links with the credentials of the AWS chain."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

from bulkpresign.aws import Aws, AwsSession, Credentials
from bulkpresign.errors import CredentialsError, ParameterError
from bulkpresign.model import (
    BatchMethod,
    Link,
    Method,
    ObjectRef,
    Post,
    Upload,
    plain,
    utc_now,
)
from bulkpresign.signing.batch import grouped, region_of
from bulkpresign.signing.batch_signer import BatchSigner
from bulkpresign.signing.batching import SignedBatches
from bulkpresign.signing.checks import check_keys, check_method, check_target, keys_of
from bulkpresign.signing.endpoints import EndpointCache
from bulkpresign.signing.expiry import check_expires_in, expires_at
from bulkpresign.signing.grant import Place, SigningGrant
from bulkpresign.signing.headers import check_headers
from bulkpresign.signing.options import PAYER, LinkOptions
from bulkpresign.signing.post import Condition, PostSigner, check_conditions
from bulkpresign.signing.sigv4 import Signer
from bulkpresign.signing.uploads import upload_of
from bulkpresign.tasks import running_loop

BATCH_SIZE = 1024
#: Seconds that the links of listings live; they are used at once.
_LISTING_EXPIRES_IN = 900


class _PutSigner(NamedTuple):
    """The signer of the PUT links of a bucket in one second."""

    signer: Signer
    bucket: str
    now: datetime
    credentials: Credentials
    end: datetime


class Presigner:
    """Signs links: any S3 operation one at a time; GET, PUT, HEAD and DELETE of objects also in large batches.

        async with Presigner(region_name="eu-west-1") as presigner:
            urls = presigner.url_batch("bucket", ["a.txt", "b.txt"])

    Credentials, region and endpoint come from the AWS chain unless given. `expires_in` (seconds, at most 7 days) is the
    default for every link. An open Presigner serves any number of tasks of one event loop: elsewhere all but its batch
    methods raise ParameterError. A closed one can be opened again.

    The batch methods (`url_batch`, `sign_batch`, `post_batch`) never wait: they raise CredentialsError if the
    credentials have expired; `sign`, `presign` and `refresh` renew them. With the region `auto`, each bucket is asked
    once for its region; until then, the batch methods raise RegionError. With `request_payer="requester"`, the GET and
    HEAD links of the batch methods say that the signer pays, as requester-pays buckets want it.
    Every url is byte for byte the same as botocore's with `signature_version="s3v4"`.
    """

    def __init__(  # noqa: PLR0917 - the order is the contract's
        self,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        addressing_style: str = "auto",
        expires_in: int = 3600,
        session: AwsSession | None = None,
        *,
        ca_bundle: str | None = None,
        request_payer: str | None = None,
    ) -> None:
        if request_payer not in {None, "requester"}:
            raise ParameterError(f"request_payer is 'requester', not {request_payer!r}")
        self.expires_in = check_expires_in(expires_in)
        #: The file of certificates to trust, None for those of the environment or the system.
        self.ca_bundle = ca_bundle
        self._aws = Aws(
            region_name=region_name,
            endpoint_url=endpoint_url,
            profile_name=profile_name,
            addressing_style=addressing_style,
            session=session,
            ca_bundle=ca_bundle,
        )
        self._is_entered = False
        self._loop: object = None
        self._credentials: Credentials | None = None
        self._endpoints = EndpointCache(self._aws, {} if request_payer is None else {PAYER: request_payer})
        self._put_signer: _PutSigner | None = None

    async def __aenter__(self) -> Self:
        """Raises ParameterError for a Presigner that is open already: the first one to leave would close it for all."""
        if self._is_entered:
            raise ParameterError("the presigner is open already: open it once, and share it")
        self._is_entered, self._loop = True, running_loop()
        try:
            await self._aws.__aenter__()
            await self.refresh()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_entered, self._credentials, self._put_signer = False, None, None
        self._endpoints.clear()  # it can be opened again with other settings of the environment
        await self._aws.__aexit__(*exc_info)

    @property
    def is_open(self) -> bool:
        """True inside `async with`."""
        return self._credentials is not None

    def check_loop(self) -> None:
        """Raises ParameterError in another event loop than that in which it was opened, whose tasks it waits for.

        Its batch methods, which never wait, work in any thread and loop.
        """
        if self._is_entered and running_loop() is not self._loop:
            raise ParameterError("the presigner was opened in another event loop: open one for each loop")

    @property
    def has_unknown_end(self) -> bool:
        """True if links may end before their `expires_at`: with a session token whose end nothing tells."""
        credentials = self._credentials
        return credentials is not None and credentials.token is not None and credentials.expires_at is None

    @property
    def aws(self) -> Aws:
        """S3 with the same configuration, for listings of uploads."""
        return self._aws

    async def refresh(self, buckets: Iterable[str] = ()) -> None:
        """Loads the current credentials; those that are about to expire are renewed.

        With region `auto`, it also asks for the unknown regions of `buckets`, all at the same time. Raises
        CredentialsError, RegionError for a bucket whose region can't be found, and ParameterError in another event
        loop.
        """
        if isinstance(buckets, str):
            raise ParameterError("buckets is a list of buckets, not one")
        self.check_loop()
        self._credentials = await self._aws.credentials()
        await self._aws.learn_regions(buckets)

    async def prepare(self, objects: Iterable[ObjectRef]) -> None:
        """Calls `refresh` for these objects, so that `sign_batch` can sign them without waiting."""
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

        The HTTP method is that of the operation unless given. The link's `headers` must be sent; parameters such as
        `Metadata` become headers. Raises SigningError for a method or parameter that S3 does not have.
        """
        if not isinstance(params, Mapping | None):
            raise TypeError(f"params is a dict with the parameters of {client_method}, not {type(params).__name__}")
        seconds, params = self._seconds(expires_in), {name: plain(value) for name, value in (params or {}).items()}
        check_target(params)
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
        """An upload form, the same as botocore's `generate_presigned_post`; `conditions` must allow the `fields`."""
        seconds, bucket, key = self._seconds(expires_in), plain(bucket), plain(key)
        check_target({"Bucket": bucket, "Key": key})
        credentials = await self._renewed_credentials()
        now = utc_now()
        url, signed = await self._aws.presign_post(bucket, key, fields, conditions, seconds)
        return Post(url, signed, expires_at(now, seconds, credentials.expires_at), ObjectRef(bucket, key))

    def url_batch(
        self,
        bucket: str,
        keys: Iterable[str],
        method: Method = "GET",
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> list[str]:
        """One url per key; the fastest way. `headers` are signed and must be sent; `query` holds response overrides."""
        if isinstance(keys, str):
            raise ParameterError("keys is a list of keys, not one")
        keys = list(keys)
        check_keys(keys)
        check_headers(headers)
        credentials = self._valid_credentials()
        signer = Signer(
            self._endpoints.endpoint(bucket),
            credentials,
            check_method(method),
            now=utc_now(),
            expires_in=self._seconds(expires_in),
            headers=headers,
            query=query,
        )
        return signer.urls(keys)

    def sign_batch(
        self,
        objects: Iterable[ObjectRef],
        method: BatchMethod = "GET",
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        options: LinkOptions | None = None,
    ) -> list[Link]:
        """One link per object, in order, without any I/O.

        `headers` are signed into every link, `query` holds response overrides, `options` are other settings by name.
        An object's own `extra` overrides them, if it has the name of an option or `region`. A PUT also signs the
        object's `content_type` and `checksum`, unless the checksum is composite; a PUT can't name a version. A POST
        with `uploads` in its query creates a multipart upload, with the settings of a PUT.
        """
        return self._batch_signer(expires_in).sign_batch(objects, method, headers=headers, query=query, options=options)

    def sign_again(
        self,
        links: Iterable[Link],
        method: BatchMethod | None = None,
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        options: LinkOptions | None = None,
    ) -> list[Link]:
        """A fresh link for each of `links`, in order, without any I/O.

        A link keeps its method, its headers and its query parameters such as response overrides. An object's own
        `extra`, `options`, `headers` and `query` override them, as in `sign_batch`. `method` is for all links: settings
        that it does not support are dropped, such as response overrides for a PUT. Raises ParameterError for a link
        whose object has no bucket or key.
        """
        return self._batch_signer(expires_in).sign_again(links, method, headers=headers, query=query, options=options)

    def _batch_signer(self, expires_in: int | None) -> BatchSigner:
        """Signs links now."""
        credentials, seconds, now = self._valid_credentials(), self._seconds(expires_in), utc_now()
        return BatchSigner(
            credentials=credentials,
            now=now,
            expires_in=seconds,
            end=expires_at(now, seconds, credentials.expires_at),
            endpoint_of=self._endpoints.endpoint,
        )

    def grant(self, places: Iterable[Place]) -> SigningGrant:
        """Data with which a worker process can sign links now, in these places. It has no secret key.

        Raises ParameterError, RegionError and SigningError for a place in which links can't be signed.
        """
        credentials, now = self._valid_credentials(), utc_now()
        endpoints = [(place, self._endpoints.endpoint(*place)) for place in places]
        scopes = {endpoint.scope(now) for _, endpoint in endpoints}
        return SigningGrant(
            access_key=credentials.access_key,
            token=credentials.token,
            now=now,
            expires_in=self.expires_in,
            end=expires_at(now, self.expires_in, credentials.expires_at),
            endpoints=endpoints,
            keys={scope: credentials.signing_key(scope) for scope in scopes},
        )

    def sign_listing(self, bucket: str, query: Mapping[str, str], region: str | None = None) -> Link:
        """A link that lists a bucket, without any I/O. `query` has the parameters, such as `list-type` and `prefix`.

        It is signed for `region` if that is given, otherwise for the region of other links to the bucket.
        """
        credentials, now = self._valid_credentials(), utc_now()
        signer = Signer(
            self._endpoints.endpoint(bucket, region).of_bucket,
            credentials,
            "GET",
            now=now,
            expires_in=_LISTING_EXPIRES_IN,
            query=query,
        )
        (url,) = signer.urls([""])
        end = expires_at(now, _LISTING_EXPIRES_IN, credentials.expires_at)
        return Link("GET", url, {}, end, ObjectRef(bucket, query.get("prefix", "")))

    def sign_put(self, ref: ObjectRef, headers: Mapping[str, str]) -> Link:
        """A PUT link for one object, with these headers alone, without any I/O.

        It takes a fifth of the time of a batch of one link: the signing key of the last second is used again.
        """
        credentials, now = self._valid_credentials(), utc_now().replace(microsecond=0)
        reused = self._put_signer
        if reused is None or (reused.bucket, reused.now) != (ref.bucket, now) or reused.credentials is not credentials:
            seconds, endpoint = self.expires_in, self._endpoints.endpoint(ref.bucket)
            signer = Signer(endpoint, credentials, "PUT", now=now, expires_in=seconds)
            end = expires_at(now, seconds, credentials.expires_at)
            reused = self._put_signer = _PutSigner(signer, ref.bucket, now, credentials, end)
        (url,) = reused.signer.urls([ref.key], headers={name: (value,) for name, value in headers.items()})
        return Link("PUT", url, headers, reused.end, ref)

    def sign_upload(
        self,
        ref: ObjectRef,
        upload_id: str,
        part_size: int,
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Upload:
        """The links of an open multipart upload: one per part, one to complete it, one to abort it; without any I/O.

        `ref` needs its size. `headers` are those of a PUT of the whole object; each link signs those that S3 allows
        there. The links' objects have the manifest's columns `upload_id`, `part_number` and `offset`.
        """
        credentials, seconds, now = self._valid_credentials(), self._seconds(expires_in), utc_now()
        end = expires_at(now, seconds, credentials.expires_at)

        def signer(method: str, signed: Mapping[str, str]) -> Signer:
            return Signer(
                self._endpoints.endpoint(ref.bucket, region_of(ref)),
                credentials,
                method,
                now=now,
                expires_in=seconds,
                headers=signed,
                query={"uploadId": upload_id},
            )

        return upload_of(signer, ref, upload_id, part_size, headers=headers or {}, end=end)

    def sign(
        self,
        objects: AsyncIterable[ObjectRef] | Iterable[ObjectRef],
        method: Method = "GET",
        *,
        expires_in: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        options: LinkOptions | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> AsyncIterator[list[Link]]:
        """Links in batches, for input of any length. Renews the credentials and finds regions while it runs."""
        if batch_size < 1:
            raise ParameterError(f"batch_size of {batch_size} is not at least 1")

        async def sign(batch: list[ObjectRef]) -> list[Link]:
            keys_of(batch)
            await self.prepare(batch)
            return self.sign_batch(batch, method, expires_in=expires_in, headers=headers, query=query, options=options)

        return SignedBatches(objects, batch_size, sign)

    def post_batch(
        self,
        objects: Iterable[ObjectRef],
        fields: Mapping[str, str] | None = None,
        conditions: Sequence[Condition] = (),
        *,
        expires_in: int | None = None,
    ) -> list[Post]:
        """One upload form per object, in order, without any I/O. `conditions` must allow the `fields`."""
        check_conditions(conditions)
        credentials, seconds, now = self._valid_credentials(), self._seconds(expires_in), utc_now()
        end = expires_at(now, seconds, credentials.expires_at)

        def posts_of(group: list[ObjectRef]) -> Iterable[Post]:
            bucket, region = group[0].bucket, region_of(group[0])
            signer = PostSigner(
                self._endpoints.endpoint(bucket, region),
                credentials,
                bucket,
                now=now,
                expires_in=seconds,
                fields=fields,
                conditions=conditions,
            )
            url = self._endpoints.form_url(bucket, region)
            return (Post(url, signer.fields(ref.key), end, ref) for ref in group)

        refs = list(objects)
        check_keys([ref.key for ref in refs])
        return grouped(refs, lambda ref: (ref.bucket, region_of(ref)), posts_of)

    def _seconds(self, expires_in: int | None) -> int:
        return self.expires_in if expires_in is None else check_expires_in(expires_in)

    def _valid_credentials(self) -> Credentials:
        if self._credentials is None:
            raise CredentialsError("a Presigner is used inside `async with`")
        end = self._credentials.expires_at
        if end is not None and end <= utc_now():
            raise CredentialsError(f"the credentials expired at {end:%Y-%m-%d %H:%M:%S %Z}: await presigner.refresh()")
        return self._credentials

    async def _renewed_credentials(self) -> Credentials:
        """Refreshed credentials. They expire no later than those that sign next, so `expires_at` is never too late."""
        await self.refresh()
        return self._valid_credentials()
