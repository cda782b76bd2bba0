"""The Merkle tree against the definition of RFC 6962, and against its own published example."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.proof.merkle import MerkleTree, Sibling

LEAVES = st.lists(st.binary(max_size=3), max_size=40)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def power_below(count: int) -> int:
    """The largest power of two below a count."""
    return 1 << (count - 1).bit_length() - 1


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH of 2.1, word for word."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0])
    k = power_below(len(leaves))
    return sha256(b"\1" + root(leaves[:k]) + root(leaves[k:]))


def path(index: int, leaves: Sequence[bytes]) -> list[Sibling]:
    """PATH of 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = power_below(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), Sibling("right", root(leaves[k:]))]
    return [*path(index - k, leaves[k:]), Sibling("left", root(leaves[:k]))]


def root_by_path(data: bytes, siblings: list[Sibling]) -> bytes:
    """The root that a leaf and its path lead to."""
    found = root([data])
    for side, sibling in siblings:
        left, right = (sibling, found) if side == "left" else (found, sibling)
        found = sha256(b"\1" + left + right)
    return found


@given(LEAVES)
def test_the_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    tree = MerkleTree()
    for leaf in leaves:
        tree.add(leaf)
    assert tree.root() == root(leaves)


@given(LEAVES.filter(bool), st.data())
def test_the_path_leads_to_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    tree = MerkleTree()
    for number, leaf in enumerate(leaves):
        tree.add(leaf, is_proven=number == index)
    found = tree.root()
    assert tree.path == path(index, leaves)
    assert root_by_path(leaves[index], tree.path) == found
    assert root_by_path(leaves[index] + b"x", tree.path) != found


@pytest.mark.parametrize(
    ("count", "hexadecimal"),
    [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ],
)
def test_the_example_of_certificate_transparency(count: int, hexadecimal: str) -> None:
    """The roots that its implementations test with."""
    data = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    tree = MerkleTree()
    for text in data[:count]:
        tree.add(bytes.fromhex(text))
    assert tree.root().hex() == hexadecimal
