"""Settings for the links of one run, and rows that they do not fit."""

from typing import Any

import pytest

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.model import Link, Method
from bulkpresign.signing.options import LinkOptions
from bulkpresign.signing.rules import Rules
from bulkpresign.tables import Rows

NOTHING: dict[str, Any] = {"headers": None, "query": None, "options": LinkOptions(), "head": False}


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("PATCH", {}, "method 'PATCH' is not one of GET, PUT, HEAD, DELETE"),
        ("PUT", {"head": True}, "does not go with PUT links"),
        ("PUT", {"query": {"response-content-type": "text/x"}}, "response-content-type is for GET links"),
        ("GET", {"headers": {"x-amz-meta-a": "b"}}, "a GET link that signs them opens in no browser"),
        ("PUT", {"headers": {"HOST": "foo"}}, "header HOST: the host of a link is that of its server"),
        ("GET", {"options": LinkOptions(storage_class="GLACIER")}, "storage-class is for PUT"),
    ],
)
def test_settings_that_do_not_fit_the_method(method: Method, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        Rules(method, **NOTHING | settings)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", None])
def test_no_settings_fit_every_method(method: Method | None) -> None:
    assert Rules(method, **NOTHING).method == method


def test_the_first_row_of_a_method_that_does_not_fit_is_named() -> None:
    links = [Link(method, "https://h/k", {}) for method in ("GET", "PUT", "PUT")]
    rows = Rows("l.csv", ("url",), [["https://h/k"]] * 3, [2, 3, 4])
    with pytest.raises(ManifestError, match=r"l\.csv:3: column method: response-content-type is for GET links"):
        Rules(None, **NOTHING | {"query": {"response-content-type": "text/x"}}).check_rows(rows, links)


@pytest.mark.parametrize(
    ("method", "columns", "cells", "words"),
    [
        (
            None,
            ("key", "expires_in"),
            ["", "10s"],
            "column expires_in: sign has one for all rows of a run: --expires-in",
        ),
        ("GET", ("url", "expires_in"), ["", 10], "column expires_in: sign has one for all rows of a run: --expires-in"),
        (
            None,
            ("key", "method"),
            ["", "PUT"],
            "column method: GET links are signed, and this key's is 'PUT': name the",
        ),
        ("PUT", ("key", "method"), ["put", "GET"], "column method: PUT links are signed, and this key's is 'GET': na"),
    ],
)
def test_cells_that_would_be_ignored(method: Method | None, columns: Any, cells: Any, words: str) -> None:
    rows = Rows("k.csv", columns, [["a", cell] for cell in cells], [2, 3])
    with pytest.raises(ManifestError) as caught:
        list(Rules(method, **NOTHING).checked(iter([rows])))
    assert str(caught.value).startswith(f"k.csv:3: {words}")


@pytest.mark.parametrize(
    ("method", "columns", "cell"),
    [
        ("PUT", ("url", "method"), "GET"),  # a row with a url has the method of its old link
        ("PUT", ("key", "method"), "put"),
        (None, ("key", "method"), "GET"),
        (None, ("url", "expires_at"), "2026-01-31T12:00:00Z"),
    ],
)
def test_cells_that_are_used_or_replaced(method: Method | None, columns: Any, cell: str) -> None:
    rows = Rows("k.csv", columns, [["a", cell]], [2])
    assert list(Rules(method, **NOTHING).checked(iter([rows]))) == [rows]


@pytest.mark.parametrize("given", [{"concurrency": 8}, {"failures": "f.csv"}])
def test_settings_that_need_head(given: dict[str, Any]) -> None:
    given = {"concurrency": None, "failures": None} | given
    Rules(None, **NOTHING | {"head": True}).check_given(**given)
    with pytest.raises(ParameterError, match="add --head"):
        Rules(None, **NOTHING).check_given(**given)
