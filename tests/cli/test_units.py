"""Sizes and durations as people write them."""

import click
import pytest

from bulkpresign.cli.units import duration, size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        ("1000B", 1000),
        ("5GB", 5 * 10**9),
        ("64MiB", 64 << 20),
        ("1.5 kib", 1536),
        ("2gb", 2 * 10**9),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1e6", "5TB", "1,5KiB", "64 MiB!", "1_000"])
def test_texts_that_are_not_sizes(text: str) -> None:
    with pytest.raises(click.BadParameter, match="examples: 64MiB"):
        size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("30s", 30), ("15m", 900), ("12h", 43_200), ("7d", 604_800), ("1.5h", 5400)]
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "1H", "5 weeks", "1h30m"])
def test_texts_that_are_not_durations(text: str) -> None:
    with pytest.raises(click.BadParameter, match="examples: 30s"):
        duration(text)
