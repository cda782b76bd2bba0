"""Signs batches of links with one signing time."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import attrgetter

import msgspec

from bulkpresign.model import BatchMethod, Link, ObjectRef
from bulkpresign.signing.batch import Batch, grouped
from bulkpresign.signing.checks import check_keys, check_links, check_method, keys_of
from bulkpresign.signing.endpoint import Endpoint
from bulkpresign.signing.headers import check_headers
from bulkpresign.signing.options import LinkOptions, options_of
from bulkpresign.signing.preserved import preserved_settings
from bulkpresign.signing.sigv4 import SigningCredentials


class BatchSigner(msgspec.Struct, frozen=True, kw_only=True):
    """Signs links at one time, without any I/O. `end` is when they expire; `expires_in` is in seconds.

    A Presigner makes one for each batch, a worker process one of a SigningGrant.
    """

    credentials: SigningCredentials
    now: datetime
    expires_in: int
    end: datetime
    endpoint_of: Callable[[str, str | None], Endpoint]

    def sign_batch(
        self,
        objects: Iterable[ObjectRef],
        method: BatchMethod = "GET",
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        options: LinkOptions | None = None,
    ) -> list[Link]:
        """One link per object, in order: see `Presigner.sign_batch`."""
        batch = self._batch(method, headers, query, options)
        refs = list(objects)
        check_keys(keys_of(refs))
        return batch.links(refs)

    def sign_again(
        self,
        links: Iterable[Link],
        method: BatchMethod | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        options: LinkOptions | None = None,
    ) -> list[Link]:
        """A fresh link for each of `links`, in order: see `Presigner.sign_again`."""

        def signed(some: list[Link]) -> list[Link]:
            new = method or some[0].method
            batch = self._batch(new, headers, query, options)
            refs = [link.object for link in some]
            check_keys([ref.key for ref in refs])
            return batch.renewed_links(refs, [preserved_settings(link, new) for link in some])

        given = list(links)
        check_links(given)
        return grouped(given, attrgetter("method"), signed) if given else []

    def _batch(
        self,
        method: str,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        options: LinkOptions | None,
    ) -> Batch:
        """The settings of a batch. A POST creates an upload: it has `uploads` in its query."""
        batch = Batch(
            method=method if method == "POST" and query else check_method(method),
            credentials=self.credentials,
            now=self.now,
            expires_in=self.expires_in,
            end=self.end,
            endpoint_of=self.endpoint_of,
            headers=headers or {},
            query=query or {},
            options=options_of(options),
        )
        batch.options.check(method)
        check_headers(headers)
        return batch
