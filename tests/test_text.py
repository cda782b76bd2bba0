import pytest

from bulkpresign.text import counted, show_amount, show_bytes, show_seconds


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (2 << 40, "2.00 TiB"),
        (5000 << 40, "5000.00 TiB"),
    ],
)
def test_bytes(count: int, shown: str) -> None:
    assert show_bytes(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (7.9, "0:07"), (750, "12:30"), (11100, "3:05:00"), (187_200, "2d 04:00:00")]
)
def test_seconds(seconds: float, shown: str) -> None:
    assert show_seconds(seconds) == shown


def test_singular_and_plural() -> None:
    assert [counted(n, "link") for n in (0, 1, 2, 2000)] == ["0 links", "1 link", "2 links", "2,000 links"]
    assert counted(2, "retry", "retries") == "2 retries"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0.00"),
        (0.0000096, "0.0000096"),
        (0.099, "0.099"),
        (0.5, "0.50"),
        (1.005e-9, "0.0000000010"),
        (1234.567, "1,234.57"),
    ],
)
def test_amounts(amount: float, shown: str) -> None:
    assert show_amount(amount) == shown
