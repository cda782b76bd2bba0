"""Prices as people write them."""

import click
import pytest

from bulkpresign.cli.prices import prices_of


@pytest.mark.parametrize(
    ("texts", "prices"),
    [
        ([], {}),
        (["get=0.0004"], {"GET": 0.0004}),
        (["PUT,copy, list=5", "gib=0"], {"PUT": 5, "COPY": 5, "LIST": 5, "GiB": 0}),
        (["gb=0.09"], {"GB": 0.09}),
    ],
)
def test_prices(texts: list[str], prices: dict[str, float]) -> None:
    assert prices_of(texts) == prices


@pytest.mark.parametrize("text", ["", "get", "get=", "get=-1", "get=1e3", "get=.5", "get=$1", "get=1,5", "get=nan"])
def test_texts_that_are_not_prices(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not of the form KIND=AMOUNT"):
        prices_of([text])


@pytest.mark.parametrize("text", ["gut=1", "get,=1", "=1", "get put=1"])
def test_kinds_that_have_no_price(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not one of get, head, put, post, copy, list, gb, gib"):
        prices_of([text])


@pytest.mark.parametrize(
    ("texts", "message"), [(["get,put=1", "put=2"], "put has two prices"), (["gb=1", "gib=1"], "the same bytes")]
)
def test_prices_that_exclude_each_other(texts: list[str], message: str) -> None:
    with pytest.raises(click.BadParameter, match=message):
        prices_of(texts)
