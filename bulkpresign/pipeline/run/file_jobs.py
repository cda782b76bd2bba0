"""The jobs of files that go to a bucket, with links that are signed just in time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

import anyio.lowlevel
import msgspec

from bulkpresign.model import Link, ObjectRef, Upload, key_problem, keys_are_plain, without_query
from bulkpresign.pipeline.sources.renewals import by_signing
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.engine.jobs import Job, LocalFile, MultipartUpload, RenewableLink
from bulkpresign.transfer.uploads.parts import full_object_headers

#: Takes an object that can't be uploaded, and the reason.
Refuse = Callable[[ObjectRef, str], Awaitable[None]]


class FileJobs:
    """Makes jobs of files. Those over `part_size` are uploaded in parts, by an upload that is opened in its turn.

    `headers` are signed into links; uploads in parts ask for a `checksum` of all bytes, by its algorithm. `refuse`
    takes files whose names can't be keys.
    """

    def __init__(
        self,
        presigner: Presigner,
        headers: Mapping[str, str] | None,
        part_size: int,
        checksum: str | None,
        refuse: Refuse,
    ) -> None:
        self._presigner, self._headers, self._part_size = presigner, headers, part_size
        self._asked = {} if checksum is None else full_object_headers(checksum)
        self._refuse, self._renew = refuse, by_signing(presigner)

    async def of(self, files: Iterator[Sequence[ObjectRef]]) -> AsyncIterator[Sequence[Job]]:
        """The jobs of files, in batches."""
        for found in files:
            objects = found if keys_are_plain([ref.key for ref in found]) else await self._with_keys(found)
            small = [ref for ref in objects if (ref.size or 0) <= self._part_size]
            async for links in self._presigner.sign(small, "PUT", headers=self._headers):
                yield [Job(LocalFile(link.object.file_path), RenewableLink(link, self._renew)) for link in links]
            large = [ref for ref in objects if (ref.size or 0) > self._part_size]
            async for links in self._presigner.sign(large, "PUT"):
                yield [self._to_be_opened(link) for link in links]
            await anyio.lowlevel.checkpoint()

    async def _with_keys(self, files: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """The files whose names can be keys. Others are refused.

        They are shown by names in UTF-8, which their own may not be.
        """
        problems = [key_problem(ref.key) for ref in files]
        for ref, problem in zip(files, problems, strict=True):
            if problem is not None:
                key, path = (text.encode("utf-8", "backslashreplace").decode() for text in (ref.key, ref.file_path))
                shown = msgspec.structs.replace(ref, key=key, path=path)
                await self._refuse(shown, f"{problem}: rename the file, or leave it out with --exclude")
        return [ref for ref, problem in zip(files, problems, strict=True) if problem is None]

    def _to_be_opened(self, put: Link) -> Job:
        """The job of an upload that is created later: it has no id, no links, and a url without a query."""
        headers = {**put.headers, **self._asked} if self._asked else {}
        link = Link("POST", without_query(put.url), headers, None, put.object)
        return Job(LocalFile(put.object.file_path), MultipartUpload(Upload(put.object, "", (), link), self._renew))
