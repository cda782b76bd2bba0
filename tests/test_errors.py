"""Exceptions leave a process whole: executors pickle what a function raises."""

import asyncio
import copy
import inspect
import pickle
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from bulkpresign import errors, get
from bulkpresign.errors import (
    BulkpresignError,
    ListingError,
    ManifestError,
    NameRefusedError,
    ThrottledError,
    TransferError,
)

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BulkpresignError)]


def new_error(kind: type[BulkpresignError]) -> BulkpresignError:
    if issubclass(kind, ManifestError):
        return kind("no size", file="keys.csv", line=3, column="size")
    if issubclass(kind, NameRefusedError):
        return kind("../key", "it leaves the folder")
    if issubclass(kind, ListingError):
        return kind("it is denied", code="AccessDenied")
    if issubclass(kind, TransferError):
        error = kind("it is slow", code="SlowDown", status=503, retry_after=2.0)
        error.attempt = 3
        return error
    return kind("a message")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("through", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_is_the_same_after_a_copy(kind: type[BulkpresignError], through: Callable[[Any], Any]) -> None:
    error = new_error(kind)
    error.add_note("in worker 3")
    found = through(error)
    assert (type(found), str(found), found.args, vars(found)) == (kind, str(error), error.args, vars(error))


@pytest.mark.parametrize("name", ["htps://h/k", "h/k", "ftp://u:5ec2e7@h/k", f"h/{'k' * 300}"])
def test_a_link_that_is_taken_for_a_file_keeps_its_signature(name: str, tmp_path: Path) -> None:
    source = f"{name}?X-Amz-Security-Token=5ec2e7&X-Amz-Signature=5ec2e7"
    with pytest.raises(ManifestError) as caught:
        asyncio.run(get(source, tmp_path / "to"))
    assert "5ec2e7" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.file == source


def throttled() -> None:
    raise ThrottledError("it is slow", code="SlowDown", retry_after=2.0)


def test_a_pool_of_processes_passes_it_on() -> None:
    """An error that can't be unpickled would break the pool, with all that it had still to do."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(ThrottledError, match="it is slow") as caught:
            pool.submit(throttled).result()
        assert (caught.value.code, caught.value.retry_after) == ("SlowDown", 2.0)
        assert pool.submit(abs, -1).result() == 1
