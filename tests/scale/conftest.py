from collections.abc import Iterator

import pytest

from tests.servers.proxy import FaultProxy


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        yield proxy
