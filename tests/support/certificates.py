"""What a certificate must have, by the bytes of its objects."""

from collections.abc import Mapping

from bulkpresign.proof.merkle import MerkleTree
from tests.support.checksums import digest_of


def root_of(objects: Mapping[str, bytes], algorithm: str = "sha256") -> str:
    """The root of a certificate of these bytes by key."""
    tree = MerkleTree()
    for key in sorted(objects, key=str.encode):
        body = objects[key]
        tree.add(f"{algorithm}:{digest_of(algorithm, body).hex()} {len(body)} {key}".encode())
    return tree.root().hex()
