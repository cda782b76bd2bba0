"""Rows that contradict the record of an object that is done."""

import pytest

from bulkpresign.ledger.record import Record, claims_of, contradicts
from bulkpresign.model import ObjectRef


def recorded(**fields: object) -> Record:
    known = {"size": 7, "etag": "e", "checksum": "crc32:AAAAAA==", "claims": None} | fields
    return Record(status="done", verified_by="crc32", mtime_ns=1, ctime_ns=1, part_size=None, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "is_other"),
    [
        ({}, False),
        ({"size": 7, "etag": "e", "checksum": "crc32:AAAAAA=="}, False),
        ({"size": 8}, True),
        ({"etag": "f"}, True),
        ({"checksum": "crc32:BBBBBB=="}, True),
        ({"checksum": "sha256:BBBBBB=="}, False),
        ({"checksum": "crc32:BBBBBB==-2"}, False),
    ],
    ids=["nothing", "the same", "size", "etag", "checksum", "other algorithm", "checksum of parts"],
)
def test_a_row_contradicts_what_it_differs_from(row: dict[str, object], is_other: bool) -> None:
    assert contradicts(ObjectRef("b", "k", **row), recorded()) == is_other  # type: ignore[arg-type]


def test_nothing_contradicts_what_was_not_recorded() -> None:
    row = ObjectRef("b", "k", size=8, etag="f", checksum="crc32:BBBBBB==")
    assert not contradicts(row, recorded(size=None, etag=None, checksum=None))


def test_a_row_that_says_the_same_as_before_contradicts_nothing() -> None:
    """Its etag was wrong then, and the object was proven in another way."""
    row = ObjectRef("b", "k", size=7, etag="stale")
    assert not contradicts(row, recorded(claims=claims_of(row)))
    assert contradicts(ObjectRef("b", "k", size=7, etag="staler"), recorded(claims=claims_of(row)))


def test_the_etag_of_the_row_counts_where_the_object_was_stored_without_one() -> None:
    row = ObjectRef("b", "k", size=7, etag="one")
    known = recorded(etag=None, checksum=None, claims=claims_of(row))
    assert not contradicts(row, known)
    assert not contradicts(ObjectRef("b", "k"), known)
    assert contradicts(ObjectRef("b", "k", size=7, etag="two"), known)
