"""The Merkle tree of RFC 6962: its root, and the path of one leaf, computed as the leaves come.

A leaf is SHA-256 of a zero byte and its data; a node is SHA-256 of a one byte and its two children. The left child of a
node with n leaves has the largest power of two below n of them. Source: RFC 6962, 2.1.
"""

import hashlib
from typing import Literal, NamedTuple

_LEAF, _NODE = b"\0", b"\1"


class Sibling(NamedTuple):
    """A hash on the path from a leaf to the root, and the side on which it stands."""

    side: Literal["left", "right"]
    hash: bytes


class MerkleTree:
    """Computes the root of any number of leaves. Memory grows with the logarithm of their number.

    `path` is that of the leaf that was added as the proven one: from the leaf up, complete after `root`.
    """

    def __init__(self) -> None:
        self._subtrees: list[_Subtree] = []  # complete ones, the largest first; no two of the same height
        self.path: list[Sibling] = []

    def add(self, data: bytes, *, is_proven: bool = False) -> None:
        """Adds the next leaf."""
        subtree = _Subtree(0, _sha256(_LEAF + data), is_proven)
        while self._subtrees and self._subtrees[-1].height == subtree.height:
            subtree = self._joined(self._subtrees.pop(), subtree)
        self._subtrees.append(subtree)

    def root(self) -> bytes:
        """The root of all leaves. Call it once, after the last leaf."""
        if not self._subtrees:
            return _sha256(b"")
        root = self._subtrees.pop()
        while self._subtrees:
            root = self._joined(self._subtrees.pop(), root)
        return root.hash

    def _joined(self, left: "_Subtree", right: "_Subtree") -> "_Subtree":
        if left.is_proven:
            self.path.append(Sibling("right", right.hash))
        elif right.is_proven:
            self.path.append(Sibling("left", left.hash))
        joined = _sha256(_NODE + left.hash + right.hash)
        return _Subtree(left.height + 1, joined, left.is_proven or right.is_proven)


class _Subtree(NamedTuple):
    """A subtree: its height (0: one leaf), its root, and whether the proven leaf is in it."""

    height: int
    hash: bytes
    is_proven: bool


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
