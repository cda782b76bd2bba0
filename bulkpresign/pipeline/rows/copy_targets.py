"""sign --to: the row of each object also has a PUT link for its copy, with the headers that the copy keeps."""

from collections.abc import Mapping
from contextlib import AsyncExitStack

from bulkpresign.errors import CredentialsError, ParameterError, RefusedError
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.run.copies import Destination
from bulkpresign.pipeline.run.linked_copies import with_target
from bulkpresign.pipeline.run.preflight import reserve_paths
from bulkpresign.pipeline.run.sides import Sides
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.copies.head import MOST_AT_ONCE, kept_headers


async def copy_targets(stack: AsyncExitStack, destination: Destination, sides: Sides) -> "CopyTargets":
    """A CopyTargets for the destination, open until the `stack` ends."""
    presigner = await (await stack.enter_async_context(sides.destination)).get()
    return CopyTargets(destination, presigner, stack.enter_context(PathIndex()))


class CopyTargets:
    """Adds a PUT link for its copy to each object."""

    def __init__(self, destination: Destination, presigner: Presigner, index: PathIndex) -> None:
        self._destination, self._presigner, self._index = destination, presigner, index

    async def __call__(self, ref: ObjectRef, headers: Mapping[str, str]) -> ObjectRef:
        """The object with the columns of the PUT link. `headers` are those of the response to a HEAD.

        Raises ManifestError for a key that two objects would have, RefusedError for an object that one request can't
        store, or whose headers can't be signed.
        """
        if (ref.size or 0) > MOST_AT_ONCE:
            raise RefusedError("over 5 GiB need an upload in parts: copy it with credentials", code="TooLarge")
        reserve_paths(self._index, [(self._destination.placed(ref), ref.uri)])
        target = ObjectRef(self._destination.location.bucket, self._destination.key(ref))
        try:
            return with_target(ref, await self._signed(target, kept_headers(headers)))
        except ParameterError as error:
            raise RefusedError(f"the link for its copy can't be signed: {error}", code="NotSigned") from error

    async def _signed(self, target: ObjectRef, headers: Mapping[str, str]) -> Link:
        try:
            return self._presigner.sign_put(target, headers)
        except CredentialsError:
            await self._presigner.prepare([target])
            return self._presigner.sign_put(target, headers)
