"""`bp.merge`."""

import asyncio
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.model import ObjectRef, Outcome
from tests.ledger.journals import START, journal


def test_the_report_of_the_merged_journal(tmp_path: Path) -> None:
    files = [
        journal(tmp_path / f"{n}", [(START, Outcome(ObjectRef("b", f"{n}"), "done", n))], {START: n}) for n in range(3)
    ]
    found = asyncio.run(bp.merge(files, tmp_path / "all.journal"))
    assert [found] == asyncio.run(bp.report(tmp_path / "all.journal"))
    assert (found.objects, found.done, found.bytes) == (3, 3, 3)
    with pytest.raises(bp.ParameterError, match="no journal to merge"):
        asyncio.run(bp.merge([], tmp_path / "none.journal"))
    with pytest.raises(bp.ParameterError, match="a list of journals, not one"):
        asyncio.run(bp.merge(str(files[0]), tmp_path / "none.journal"))
    with pytest.raises(bp.OutputError, match=r"all.journal exists"):
        asyncio.run(bp.merge(files, tmp_path / "all.journal"))
