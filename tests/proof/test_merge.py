"""Two sorted streams as pairs: every key once, in order, with the values of dicts as the oracle."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.proof.merge import merged

SIDES = st.dictionaries(st.binary(max_size=3), st.integers())


@given(SIDES, SIDES)
def test_every_key_once(first: dict[bytes, int], second: dict[bytes, int]) -> None:
    found = list(merged(sorted(first.items()), sorted(second.items())))
    assert found == [(key, first.get(key), second.get(key)) for key in sorted(first.keys() | second.keys())]


def test_no_more_is_read_than_one_ahead() -> None:
    taken: list[int] = []

    def numbers(step: int) -> Iterator[tuple[bytes, int]]:
        for number in range(0, 100, step):
            taken.append(number)
            yield b"%02d" % number, number

    pairs = merged(numbers(2), numbers(3))
    key, *values = next(pairs)
    assert (key, values) == (b"00", [0, 0])
    assert len(taken) == 2
