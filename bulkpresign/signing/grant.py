"""Data with which a worker process signs links: signing keys of single days, without the secret key."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from bulkpresign.model import rich_repr
from bulkpresign.signing.batch_signer import BatchSigner
from bulkpresign.signing.endpoint import Endpoint

#: A bucket, and the region in the row of its object (None: that of the run).
Place = tuple[str, str | None]


class SigningGrant(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """All that is needed to sign links at one time, as data. `end` is when they expire; `expires_in` is in seconds.

    `keys` has a SigV4 signing key for each scope, such as `20261124/eu-west-1/s3`. It signs on that day, in that region
    and for that service alone; the secret key can't be computed from it. `endpoints` are those of known places.
    """

    access_key: str
    token: str | None
    now: datetime
    expires_in: int
    end: datetime
    endpoints: Sequence[tuple[Place, Endpoint]]
    keys: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"SigningGrant({self.access_key}, scopes={list(self.keys)})"

    __rich_repr__ = rich_repr

    def signing_key(self, scope: str) -> bytes:
        """The key that signs in a scope."""
        return self.keys[scope]

    @property
    def places(self) -> set[Place]:
        """The places in which links can be signed."""
        return {place for place, _ in self.endpoints}

    @property
    def signer(self) -> BatchSigner:
        """Signs links in these places."""
        endpoints = dict(self.endpoints)
        return BatchSigner(
            credentials=self,
            now=self.now,
            expires_in=self.expires_in,
            end=self.end,
            endpoint_of=lambda bucket, region: endpoints[bucket, region],
        )
