"""Rows of one group share a signer, and the links are in the order of the rows."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.model import BatchMethod, ObjectRef
from bulkpresign.signing.batch import grouped
from bulkpresign.signing.options import LinkOptions
from tests.signing.oracle import Both


@given(st.lists(st.tuples(st.integers(0, 3), st.integers())))
def test_groups_are_signed_together_in_the_order_of_the_rows(items: list[tuple[int, int]]) -> None:
    seen: list[int] = []

    def results_of(alike: list[tuple[int, int]]) -> Iterable[tuple[int, int]]:
        (kind,) = {kind for kind, _ in alike}
        seen.append(kind)
        return iter(alike)

    assert grouped(items, lambda item: item[0], results_of) == items
    assert sorted(seen) == sorted({kind for kind, _ in items})


NUMBERS = range(50)


@pytest.mark.parametrize(
    ("method", "options", "refs", "kinds"),
    [
        ("GET", {}, [ObjectRef("bucket", f"{n}", extra={"note": f"{n}"}) for n in NUMBERS], 1),
        ("GET", {"filename": "{name}"}, [ObjectRef("bucket", f"{n}") for n in NUMBERS], 1),
        ("GET", {}, [ObjectRef("bucket", f"{n}", f"v{n}" if n % 2 else None) for n in NUMBERS], 2),
        ("GET", {}, [ObjectRef(f"bucket-{n % 3}", f"{n}", extra={"filename": f"{n}"}) for n in NUMBERS], 3),
        ("PUT", {}, [ObjectRef("bucket", f"{n}", checksum=f"crc32:AAA{n % 7}AA==") for n in NUMBERS], 1),
        ("PUT", {}, [ObjectRef("bucket", f"{n}", content_type=f"a/{n}") for n in NUMBERS], 1),
        ("PUT", {}, [ObjectRef("bucket", f"{n}", extra={"metadata": {"number": f"{n}"}}) for n in NUMBERS], 1),
        ("PUT", {}, [ObjectRef("bucket", f"{n}", extra={"metadata": {f"n{n}": "x"}}) for n in NUMBERS], len(NUMBERS)),
    ],
)
def test_rows_of_a_group_share_a_signer(
    europe: Both, signers: list[object], method: BatchMethod, options: dict[str, str], refs: list[ObjectRef], kinds: int
) -> None:
    carried = LinkOptions(**options)  # type: ignore[arg-type]
    links = europe.presigner.sign_batch(refs, method, options=carried)
    assert len(signers) == kinds
    assert [link.object for link in links] == refs
    alone = [europe.presigner.sign_batch([ref], method, options=carried)[0] for ref in refs]
    assert [link.headers for link in links] == [link.headers for link in alone]
