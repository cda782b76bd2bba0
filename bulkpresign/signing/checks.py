"""Checks of the arguments of a Presigner."""

from collections.abc import Mapping, Sequence
from typing import Any

from bulkpresign.errors import ParameterError
from bulkpresign.model import Link, ObjectRef, bucket_problem, key_problem, keys_are_plain, plain
from bulkpresign.signing.options import METHODS


def check_method(method: str) -> str:
    """The same method, as plain text. Raises ParameterError for one that links of objects can't have."""
    if method not in METHODS:
        raise ParameterError(f"method {method!r} is not one of {', '.join(METHODS)}: use presign for other operations")
    return plain(method)


def check_keys(keys: Sequence[str]) -> None:
    """Raises ParameterError for the first key that S3 would refuse, and TypeError for one that is not a str."""
    try:
        are_plain = keys_are_plain(keys)
    except TypeError:  # no check of each key: batches are large
        number, key = next((number, key) for number, key in enumerate(keys, 1) if not isinstance(key, str))
        raise TypeError(f"key {number} is of type {type(key).__name__}, not str") from None
    if not are_plain:
        for key in keys:
            if problem := key_problem(key):
                raise ParameterError(f"key {key[:80]!r}: {problem}")


def keys_of(refs: Sequence[ObjectRef]) -> list[str]:
    """The keys of some objects. Raises TypeError for a row that is not an ObjectRef."""
    try:
        return [ref.key for ref in refs]  # no check of each row: batches are large
    except AttributeError:
        number, row = next((number, row) for number, row in enumerate(refs, 1) if not isinstance(row, ObjectRef))
        hint = "; url_batch takes keys" if isinstance(row, str) else ""
        raise TypeError(f"row {number} is of type {type(row).__name__}; expected an ObjectRef{hint}") from None


def check_links(links: Sequence[object]) -> None:
    """Raises TypeError for a row that is not a Link."""
    for number, row in enumerate(links, 1):
        if not isinstance(row, Link):
            hint = "; sign_batch takes objects" if isinstance(row, ObjectRef) else ""
            raise TypeError(f"row {number} is of type {type(row).__name__}; expected a Link{hint}")


def check_target(params: Mapping[str, Any]) -> None:
    """Raises ParameterError for a bucket or key that is not valid. botocore refuses values that are not text."""
    bucket, key = params.get("Bucket"), params.get("Key")
    if isinstance(bucket, str) and (problem := bucket_problem(bucket)):
        raise ParameterError(problem)
    if isinstance(key, str):
        check_keys([key])
