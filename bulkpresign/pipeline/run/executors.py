"""The executors of a run: this process, and the workers beside it if there are any."""

import os
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import msgspec

from bulkpresign.events import Listener
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.ledger.journal import Journal
from bulkpresign.pipeline.run.config import TransferConfig
from bulkpresign.pipeline.run.descriptors import affordable_objects
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.executor import LocalExecutor
from bulkpresign.transfer.spec import TransferSpec

if TYPE_CHECKING:
    from bulkpresign.scale.coordinator import RemoteExecutor
    from bulkpresign.scale.workers import Workers


class RunExecutors:
    """The workers that are asked for (None: none; see `scale.workers`). Raises ParameterError if that is not valid."""

    def __init__(self, executor: str | Executor | None) -> None:
        self._workers = None if executor is None else _workers_of(executor)

    async def close(self) -> None:
        """Ends the workers that were started for the run."""
        if self._workers is not None:
            from bulkpresign.scale.workers import close  # most runs need none

            await close(self._workers)

    def open(
        self,
        spec: TransferSpec,
        emit: Listener,
        *,
        http: HttpClient,
        clock: Clock,
        folder: Folder | None,
        is_left: Callable[[], bool],
        owner: Journal | None,
    ) -> "tuple[LocalExecutor, LocalExecutor | RemoteExecutor]":
        """The executor of this process, and the one that runs the jobs.

        `is_left` is that of the TransferContext. `owner` is the journal if the jobs write below the folder: see `mark`.
        """
        workers = self._workers
        own = spec if workers is None else spec.share(workers.count + 1)
        local = LocalExecutor(own, emit, http=http, clock=clock, folder=folder, is_left=is_left)
        if workers is None:
            return local, local
        from bulkpresign.scale.coordinator import RemoteExecutor  # most runs need none

        marked = None if owner is None else os.path.realpath(owner.file)
        return local, RemoteExecutor(spec, emit, workers, local, owner=marked)


def completed_spec(
    spec: TransferSpec,
    config: TransferConfig,
    folder: Folder | None,
    *,
    ca_bundle: str | None,
    keeps_checkpoints: bool,
) -> TransferSpec:
    """A verb's specification, with the settings that all verbs share."""
    affordable = affordable_objects() or config.requests
    concurrency = config.concurrency
    return msgspec.structs.replace(
        spec,
        folder="" if folder is None else os.path.abspath(folder.root),  # noqa: PTH100 - links are not resolved
        concurrency=None if concurrency is None else min(concurrency, affordable),
        max_concurrency=min(config.requests, affordable),
        part_size=config.part_size,
        part_concurrency=config.part_concurrency,
        attempts=config.attempts,
        limit_rate=config.limit_rate,
        keeps_checkpoints=keeps_checkpoints,
        ca_bundle=None if ca_bundle is None else os.path.abspath(ca_bundle),  # noqa: PTH100
        transport=config.transport,
    )


def _workers_of(executor: str | Executor) -> "Workers":
    from bulkpresign.scale.workers import workers_of  # most runs need none

    return workers_of(executor)
