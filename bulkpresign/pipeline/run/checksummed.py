"""Files that go to a bucket with their checksums, which the server compares and keeps.

A checksum is signed into the link of its file. So files are read before they are signed, shortly before they are sent:
not those that earlier runs have stored.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from bulkpresign.model import ObjectRef
from bulkpresign.pipeline.rows.hash_files import HashedFiles
from bulkpresign.pipeline.run.batches import Batches
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.engine.jobs import Job, RenewableLink

#: Files, and bytes, that are read before the first of them is sent.
_FILES, _BYTES = 256, 64 << 20


class ChecksummedFiles:
    """Signs the links of uploads again, with the checksums of their files.

    Uploads in parts are left as they are. So is a file that can't be read: its upload reports it.
    """

    def __init__(self, hashed: HashedFiles, presigner: Presigner, headers: Mapping[str, str] | None) -> None:
        self._hashed, self._presigner, self._headers = hashed, presigner, headers
        self._is_stopped = False

    def stop(self) -> None:
        """Signs no more, because what is left is not sent."""
        self._is_stopped = True

    async def __call__(self, batches: Batches) -> Batches:
        """The jobs of uploads, with their checksums."""
        async for batch in batches:
            for jobs in _portions(batch):
                yield jobs if self._is_stopped else await self._signed(jobs)

    async def _signed(self, jobs: Sequence[Job]) -> Sequence[Job]:
        targets = {index: job.target for index, job in enumerate(jobs) if isinstance(job.target, RenewableLink)}
        results = await self._hashed([target.object for target in targets.values()])
        found = {index: it for index, it in zip(targets, results, strict=True) if isinstance(it, ObjectRef)}
        await self._presigner.prepare(list(found.values()))
        links = self._presigner.sign_batch(list(found.values()), "PUT", headers=self._headers)
        signed = list(jobs)
        for index, link in zip(found, links, strict=True):
            signed[index] = msgspec.structs.replace(jobs[index], target=RenewableLink(link, targets[index].renew))
        return signed


def _portions(batch: Sequence[Job]) -> Iterator[Sequence[Job]]:
    """A batch in portions, so that the first files are sent while others are read."""
    portion: list[Job] = []
    size = 0
    for job in batch:
        portion.append(job)
        size += job.object.size or 0 if isinstance(job.target, RenewableLink) else 0
        if len(portion) == _FILES or size >= _BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
