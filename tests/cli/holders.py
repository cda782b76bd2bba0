"""Rows of links, as their holder reads and sends them."""

import json
from base64 import b64encode

import requests

#: A customer's key, as the headers have it.
KEY = b64encode(bytes(range(32))).decode()


def send(row: dict[str, str], body: bytes | None = None, without: str = "") -> requests.Response:
    """Sends the request of a row with its headers, except `without`."""
    headers = {name: value for name, value in json.loads(row["headers"]).items() if name != without}
    return requests.request(row["method"], row["url"], data=body, headers=headers, timeout=30)


def headers_of(row: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = json.loads(row["headers"])
    return found
