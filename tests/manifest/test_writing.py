"""Rows that a manifest writer refuses."""

import pytest

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.writing import object_writer
from bulkpresign.model import ObjectRef
from bulkpresign.tables import open_output


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_the_number_of_carried_columns_is_bounded(format_: str) -> None:
    with (
        open_output("/dev/null") as output,
        pytest.raises(ManifestError, match=r"over 1,000 carried columns|is new after"),
    ):
        writer = object_writer(output, "rows", format_)
        for batch in range(20):
            writer.write([ObjectRef("b", "k", extra={f"c{batch}-{n}": n}) for n in range(100)])
