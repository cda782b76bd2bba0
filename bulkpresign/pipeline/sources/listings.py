"""Lists buckets through links of our own: signs, sends and parses the requests of a listing."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, aclosing, contextmanager
from functools import partial
from itertools import repeat
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from bulkpresign.errors import LinkExpiredError, ListingError, RefusedError, ServerError, TransferError
from bulkpresign.events import Listener
from bulkpresign.http.client import HttpClient, Transport
from bulkpresign.http.connection import BodyCallback
from bulkpresign.http.response import Response
from bulkpresign.http.s3_errors import bucket_region
from bulkpresign.ledger.listing_index import ListingIndex
from bulkpresign.model import Link, ObjectRef, without_query
from bulkpresign.redact import redacted
from bulkpresign.signing.options import PAYER
from bulkpresign.signing.parts import with_columns
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.lister import CONCURRENCY, Lister
from bulkpresign.source.location import Location, version_path
from bulkpresign.source.page import START_AFTER, Page, PageParser
from bulkpresign.tables.columns import LAST_MODIFIED
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.limiter import RequestLimiter

T = TypeVar("T")

#: The statuses with which S3 answers a request that is signed for another region than the bucket's.
_OTHER_REGION = frozenset({301, 307, 400})
#: The version of the API for listings of objects, and the parameter of the first one that START_AFTER replaced.
_LIST_TYPE, _MARKER = "list-type", "marker"
#: As many keys as a page can have: without `max-keys`, Alibaba OSS gives 100.
_OBJECTS = {_LIST_TYPE: "2", "encoding-type": "url", "max-keys": "1000"}
_VERSIONS = {"versions": "", "encoding-type": "url", "max-keys": "1000"}
#: The statuses of a server that does not know ListObjectsV2, unless it ignores `list-type`.
_UNKNOWN_REQUEST = frozenset({405, 501})


class BucketLister:
    """Lists the objects of buckets. Use as an async context manager, which ends the requests in flight.

    With `all_versions`, every version of each object is listed, except delete markers; otherwise only the latest one.
    A request is attempted up to `attempts` times; after the first page twice as often, because a page that is missing
    ends a run of days. `emit` gets the attempts that failed and are repeated.
    `request_payer` is `requester` for buckets that want it.
    """

    def __init__(
        self,
        presigner: Presigner,
        emit: Listener,
        *,
        attempts: int = 5,
        transport: Transport = "auto",
        all_versions: bool = False,
        request_payer: str | None = None,
    ) -> None:
        self._presigner = presigner
        self._payer = {} if request_payer is None else {PAYER: request_payer}
        self._query = {**(_VERSIONS if all_versions else _OBJECTS), **self._payer}
        self._all_versions = all_versions
        self._http = HttpClient(CONCURRENCY, ca_bundle=presigner.ca_bundle, transport=transport)
        limiter = RequestLimiter(ConcurrencyController(fixed=CONCURRENCY))
        self._context = TransferContext(self._http, emit, limiter, attempts)
        self._later_attempts = attempts if attempts == 1 else 2 * attempts
        #: The number of requests for pages, without those that were repeated.
        self.requests = 0
        self._regions: dict[str, str] = {}  # for buckets outside the presigner's region
        self._first_version = False  # the server knows ListObjects alone
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._http)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def objects(
        self, bucket: str, prefix: str, *, base: str | None = None
    ) -> AsyncGenerator[list[ObjectRef], None]:
        """The objects under a prefix, a page (up to 1,000) at a time, with size, etag and `last_modified`.

        The path of an object is its key after `base`, by default after the prefix. Raises ListingError.
        """
        start = len(prefix if base is None else base)
        lister = Lister(partial(self._page, bucket), prefix, all_versions=self._all_versions)
        self._stack.push_async_callback(lister.stop)
        with _listing_errors(bucket, prefix):
            async with aclosing(lister.pages()) as pages:
                async for page in pages:
                    yield self._refs(bucket, page, start)

    async def index(self, location: Location) -> ListingIndex | None:
        """An index of the objects under a prefix, which the caller closes. None where listing them is refused.

        Raises ListingError where it fails.
        """
        with ExitStack() as stack:
            index = stack.enter_context(ListingIndex())
            try:
                async for page in self.objects(location.bucket, location.key):
                    index.add(page)
            except ListingError as error:  # not everyone who may write may list
                if error.is_refusal:
                    return None
                raise
            stack.pop_all()
        return index

    async def find(self, bucket: str, key: str) -> tuple[list[ObjectRef], bool]:
        """The object of a key, or all of its versions; and True if there is none, but objects under `key/`.

        If listings are not allowed, the object is returned without size and etag. Raises ListingError.
        """
        found = await self._versions(bucket, key) if self._all_versions else []
        try:
            with _listing_errors(bucket, key):
                found = found or await self._latest(bucket, key)
                below = None if found else await self._page(bucket, {"prefix": f"{key}/", "max-keys": "1"})
        except ListingError as error:
            if error.is_refusal and not self._all_versions:
                return [ObjectRef(bucket, key)], False
            raise
        return found, below is not None and bool(below.keys)

    async def _latest(self, bucket: str, key: str) -> list[ObjectRef]:
        page = await self._page(bucket, {"prefix": key, "max-keys": "1"})
        return [msgspec.structs.replace(ref, path=None) for ref in self._refs(bucket, page, 0) if ref.key == key]

    async def _versions(self, bucket: str, key: str) -> list[ObjectRef]:
        found: list[ObjectRef] = []
        async with aclosing(self.objects(bucket, key, base="")) as pages:
            async for refs in pages:
                found += [ref for ref in refs if ref.key == key]
                if refs[-1].key != key:
                    break
        return found

    async def _page(self, bucket: str, query: Mapping[str, str]) -> Page:
        """One page, after as many attempts as it needs."""
        self.requests += 1
        listed = ObjectRef(bucket, query["prefix"], path=f"s3://{bucket}/")  # events name it, also without a prefix
        page, _ = await self._context.retried(lambda: self._requested(bucket, query), listed)
        if self._context.attempts != self._later_attempts:
            self._context = msgspec.structs.replace(self._context, attempts=self._later_attempts)
        return page

    async def download(self, bucket: str, key: str, sink: Callable[[], BodyCallback]) -> None:
        """Gets an object. `sink` returns the function that takes its bytes, once for each attempt.

        Raises TransferError, and what the function raises.
        """
        ref = ObjectRef(bucket, key)

        def signed(region: str | None) -> Link:
            located = with_columns(ref, region=region) if region else ref
            (link,) = self._presigner.sign_batch([located], query=self._payer)
            return link

        async def take(response: Response) -> None:
            await response.stream_to(sink())

        await self._context.retried(lambda: self._sent(bucket, signed, take), ref)

    async def _requested(self, bucket: str, query: Mapping[str, str]) -> Page:
        async def take(response: Response) -> Page:
            parser = PageParser()
            await response.stream_to(parser.feed)
            page = parser.close()
            self._first_version |= parser.is_first_version
            return page

        def signed(region: str | None) -> Link:
            all_of_it = {**self._query, **query}
            return self._presigner.sign_listing(bucket, self._in_first_version(all_of_it), region)

        try:
            return await self._sent(bucket, signed, take)
        except RefusedError as error:
            if error.status not in _UNKNOWN_REQUEST or self._first_version or self._all_versions:
                raise
            self._first_version = True
            try:
                return await self._sent(bucket, signed, take)
            except TransferError:
                self._first_version = False
                raise error from None

    def _in_first_version(self, query: dict[str, str]) -> dict[str, str]:
        """The parameters as ListObjects has them, where the server knows nothing else."""
        if self._first_version and _LIST_TYPE in query:
            del query[_LIST_TYPE]
            if START_AFTER in query:
                query[_MARKER] = query.pop(START_AFTER)
        return query

    async def _sent(
        self, bucket: str, signed: Callable[[str | None], Link], take: Callable[[Response], Awaitable[T]]
    ) -> T:
        """What `take` returns for a response with status 200. `signed` makes the link, for a region if it is known."""
        await self._presigner.refresh([bucket])
        link = signed(self._regions.get(bucket))
        async with self._http.request(link) as response:
            if response.status == 200:
                return await take(response)
            body = await response.read()
            region = bucket_region(response.headers, body)
            if region is None or response.status not in _OTHER_REGION or bucket in self._regions:
                error = _signed_anew(await response.error(link, body))
                if _names_bucket_twice(link.url, bucket):
                    error.add_note("the endpoint url names the bucket: leave it out there")
                raise error
        self._regions[bucket] = region
        return await self._sent(bucket, signed, take)

    def _refs(self, bucket: str, page: Page, start: int) -> list[ObjectRef]:
        """The objects of a page. The path of each is its key from index `start` on."""
        paths = [key[start:] for key in page.keys] if start else page.keys
        version_ids: Iterable[str | None] = repeat(None)
        if self._all_versions:
            version_ids = page.version_ids
            paths = list(map(version_path, paths, page.version_ids))
        extras = [{LAST_MODIFIED: time} if time else None for time in page.modified]
        archived: Iterable[bool] = page.archived or repeat(False)
        columns = (page.keys, version_ids, page.sizes, page.etags, repeat(None), repeat(None), paths, extras, archived)
        return list(map(ObjectRef, repeat(bucket), *columns))


def _names_bucket_twice(url: str, bucket: str) -> bool:
    """True for a bucket in the path of an endpoint that has its name as well, as consoles of R2 and Spaces show it."""
    address = without_query(url).rstrip("/").partition("://")[2]
    host, _, path = address.removesuffix(f"/{bucket}").partition("/")
    return f"{host}/{path}".rstrip("/") != address and (host.startswith(f"{bucket}.") or path.split("/")[-1] == bucket)


def _signed_anew(error: TransferError) -> TransferError:
    """The same error, for a link that expired as one that another attempt can fix: each has a link of its own."""
    if not isinstance(error, LinkExpiredError):
        return error
    return ServerError(str(error), code=error.code, status=error.status)


@contextmanager
def _listing_errors(bucket: str, prefix: str) -> Iterator[None]:
    """Raises ListingError, with the name of what was to be listed, for a request that failed."""
    try:
        yield
    except (TransferError, ListingError) as error:
        advice = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        message = f"s3://{bucket}/{prefix} can't be listed: {redacted(str(error))}{advice}"
        raise ListingError(message, code=error.code) from error
