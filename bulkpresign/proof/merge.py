"""Merges two sorted streams into pairs, in constant memory. No I/O."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def merged(
    first: Iterable[tuple[bytes, A]], second: Iterable[tuple[bytes, B]]
) -> Iterator[tuple[bytes, A | None, B | None]]:
    """Every key of both streams once, in order, with the value of each stream that has it, else None.

    Both streams are in the bytewise order of their keys, and have each key once.
    """
    left, right = iter(first), iter(second)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None  # noqa: S101 - one of the two is left
            yield one[0], one[1], None
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(right, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(left, None), next(right, None)
