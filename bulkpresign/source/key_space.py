"""Guesses where the next keys of a listing are, from those of its last page. No I/O.

Keys with numbers, hashes or times differ in a few characters, of an alphabet that a page shows. Read as numbers of that
alphabet, the last key and its distance from the first one tell the keys that follow, if these are as dense.
"""

from collections.abc import Iterator, Sequence

#: Keys between two points, in relation to those of a page with uneven distances: a bit less than one request gives.
_SHARE = 0.9
#: The keys of a page that are looked at.
_SAMPLE = 128
#: A distance between the first and the last key of a page, as numbers, that is enough; and the least one.
_DISTANCE, _LEAST_DISTANCE = 500, 4
#: The most characters that a number is made of.
_MOST_COLUMNS = 12
DELIMITER = "/"
#: Alphabets of which a page may show only a part.
_ALPHABETS = ("0123456789", "0123456789abcdef", "0123456789ABCDEF")
#: The characters before the delimiter.
_SEPARATORS = frozenset(map(chr, range(ord(DELIMITER))))


def points_after(keys: Sequence[str], prefix: str, count: int) -> list[str]:
    """Up to `count` texts after the last of the sorted `keys`, in order, with somewhat less than a page between two.

    All begin with `prefix`, and have no delimiter after it. Empty where the keys tell nothing.
    """
    numbers = _Numbers.of(keys, prefix)
    if numbers is None:
        return []
    last = numbers.value(keys[-1])
    distance = last - numbers.value(keys[0])
    step = distance if _are_even(numbers, keys, distance) else max(1, int(distance * _SHARE))
    points = [keys[-1]]
    for n in range(1, count + 1):
        point = numbers.text(last + n * step)
        if point is None or point <= points[-1]:
            break
        points.append(point)
    return points[1:]


def _are_even(numbers: "_Numbers", keys: Sequence[str], distance: int) -> bool:
    """True if keys have equal distances, as far as a few of them show it: those between two points fill one page."""
    first, steps = numbers.value(keys[0]), len(keys) - 1
    some = range(0, len(keys), 1 + len(keys) // 8)
    return all(abs((numbers.value(keys[at]) - first) * steps - distance * at) <= distance for at in some)


class _Numbers:
    """Keys as numbers: the digits are the characters of some columns, all others are those of one key."""

    def __init__(self, key: str, columns: Sequence[int], alphabet: str) -> None:
        self._key, self._columns, self._alphabet = key, columns, alphabet
        self._digits = {character: digit for digit, character in enumerate(alphabet)}

    @classmethod
    def of(cls, keys: Sequence[str], prefix: str) -> "_Numbers | None":
        """The numbers in which some sorted keys under a prefix differ enough, None where there are none."""
        last, start = keys[-1], _common(keys[0], keys[-1])
        if DELIMITER in last[len(prefix) : start]:
            return None
        varying: list[int] = []
        alphabet: set[str] = set()
        numbers, distance = None, _LEAST_DISTANCE - 1
        sample = [*keys[:: 1 + len(keys) // _SAMPLE], last]
        for column, found in _columns(sample, start):
            if len(found) == 1:
                if numbers is not None and found < _SEPARATORS:
                    break
                continue
            varying.append(column)
            alphabet |= {character for character in found if character > DELIMITER}
            alphabet |= set(next((known for known in _ALPHABETS if alphabet <= set(known)), ""))
            carried = [at for at in range(len(prefix), start) if last[at] in alphabet]
            candidate = cls(last, [*carried, *varying], "".join(sorted(alphabet)))
            if (reached := candidate.value(last) - candidate.value(keys[0])) > distance:
                numbers, distance = candidate, reached
            if distance >= _DISTANCE:
                break
        return numbers

    def value(self, key: str) -> int:
        """The number of a key."""
        value, base = 0, len(self._alphabet)
        for column in self._columns:
            value = value * base + self._digits.get(key[column : column + 1], 0)
        return value

    def text(self, value: int) -> str | None:
        """The beginning of a key with a number, None for one that is too large."""
        end = self._columns[-1] + 1
        characters = list(self._key[:end].ljust(end, self._alphabet[0]))
        for column in reversed(self._columns):
            value, digit = divmod(value, len(self._alphabet))
            characters[column] = self._alphabet[digit]
        return None if value else "".join(characters)


def _columns(keys: Sequence[str], start: int) -> Iterator[tuple[int, set[str]]]:
    """The characters in each column of keys, from column `start` to one with a delimiter."""
    for column in range(start, start + _MOST_COLUMNS):
        found = {key[column : column + 1] for key in keys}
        if DELIMITER in found:
            return
        yield column, found


def _common(one: str, other: str) -> int:
    """The number of characters with which two texts begin alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
