"""The workers of a Dask cluster."""

import importlib
from concurrent.futures import Executor
from typing import Any

from bulkpresign.errors import ParameterError

_CONNECT_TIMEOUT = "10s"


class DaskWorkers:
    """The workers of the cluster whose scheduler has an address. Needs the extra `dask`. Raises ParameterError."""

    are_local = False

    def __init__(self, address: str) -> None:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError as error:
            message = f"executor dask:{address} needs Dask: pip install 'bulkpresign[dask]'"
            raise ParameterError(message) from error
        try:
            self._client = distributed.Client(address, timeout=_CONNECT_TIMEOUT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ParameterError(f"executor dask:{address}: there is no scheduler: {error}") from error
        # A call is run again by this package, with fresh links, and not by the scheduler.
        self.executor: Executor = self._client.get_executor(pure=False, retries=0)
        if not self.count:
            self._client.close()
            raise ParameterError(f"executor dask:{address}: the cluster has no worker")

    @property
    def count(self) -> int:
        """The threads of all workers."""
        return sum(self._client.nthreads().values())

    def interrupt(self) -> None:
        """Calls on a cluster can't be ended: they end with their batch, in about a second."""

    def close(self) -> None:
        """Ends the connection to the cluster."""
        self._client.close()
