"""Selects the jobs of a batch that go to workers. Others are done already, or need functions of this process."""

from collections.abc import Callable, Sequence

from bulkpresign.errors import TransferError
from bulkpresign.model import Outcome
from bulkpresign.scale.copies import is_made_in_parts, sign_server_copy
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.engine.jobs import Job, LocalFile, MultipartUpload
from bulkpresign.transfer.engine.workers import failed_outcome
from bulkpresign.transfer.spec import TransferSpec


class JobSelection:
    """Selects jobs for workers. `keep` takes those that run here, and `finish` the outcomes of those that don't run."""

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        keep: Callable[[Sequence[Job]], object],
        finish: Callable[[Sequence[Outcome]], object],
    ) -> None:
        self._coordinator, self._keep, self._finish = coordinator, keep, finish

    async def for_workers(self, left: dict[int, Job], spec: TransferSpec) -> list[Job]:
        """The jobs of a batch that are left for workers. The others are taken out of `left`."""
        jobs, own, asks = list[Job](), list[Job](), self._asks
        for index, job in tuple(left.items()):
            if self._is_own(job, spec):
                own.append(left.pop(index))
                continue
            try:
                found = await self._present(job, spec) if asks else None
            except TransferError as error:
                found = failed_outcome(job, error)
            if found is None:
                jobs.append(job)
            else:
                del left[index]
                self._finish([found])
        if own:
            self._keep(own)
        return jobs

    @property
    def _asks(self) -> bool:
        """True if a job needs an answer of this process before it goes to a worker."""
        return self._coordinator.find_present is not None or self._coordinator.sign_put is not None

    def _is_own(self, job: Job, spec: TransferSpec) -> bool:
        """True for a job that needs functions of this process: it moves its object in parts."""
        if self._coordinator.open_upload is not None and is_made_in_parts(job, spec):
            return True
        return isinstance(job.target, MultipartUpload) or (isinstance(job.source, LocalFile) and bool(job.checkpoint))

    async def _present(self, job: Job, spec: TransferSpec) -> Outcome | None:
        """The outcome of an object that is at its destination already. If it is not, its PUT link is signed."""
        find, sign = self._coordinator.find_present, self._coordinator.sign_put
        if find is not None:
            path = job.source.path if isinstance(job.source, LocalFile) else job.object.key
            present = await find(job.link, path)
            if present is not None:
                return present
        if sign is not None and spec.copies_on_server:
            await sign_server_copy(job, sign, self._coordinator.guard)
        return None
