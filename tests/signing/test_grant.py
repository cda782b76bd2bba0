"""What a worker process signs with: the same links as the Presigner's, and no secret key."""

import msgspec
import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.model import ObjectRef
from bulkpresign.signing.grant import SigningGrant
from tests.signing.conftest import Clock
from tests.signing.oracle import Both

REFS = [ObjectRef("bucket", "a"), ObjectRef("other", "b", extra={"region": "us-west-2"}), ObjectRef("bucket", "c d")]
PLACES = [("bucket", None), ("other", "us-west-2")]


def sent(grant: SigningGrant) -> SigningGrant:
    """The grant as the worker has it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(grant), type=SigningGrant)


def test_it_signs_the_same_links(either: Both, clock: Clock) -> None:
    del clock  # links of one time
    grant = sent(either.presigner.grant(PLACES))
    assert grant.places == set(PLACES)
    for method in ("GET", "PUT"):
        links = either.presigner.sign_batch(REFS, method)
        assert grant.signer.sign_batch(REFS, method) == links
        assert grant.signer.sign_again(links) == either.presigner.sign_again(links)


def test_it_has_no_secret_key_and_shows_no_key(either: Both) -> None:
    grant = either.presigner.grant(PLACES)
    credentials = either.presigner._valid_credentials()
    assert credentials.access_key.encode() in msgspec.msgpack.encode(grant)
    assert credentials.secret_key.encode() not in msgspec.msgpack.encode(grant)
    assert len(grant.keys) == 2
    assert not any(key.hex() in repr(grant) or repr(key) in repr(grant) for key in grant.keys.values())
    with pytest.raises(ParameterError):
        either.presigner.grant([("no bucket", None)])
