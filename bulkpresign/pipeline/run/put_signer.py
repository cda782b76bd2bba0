"""Signs PUT links whose headers are known only when the object or its part is read."""

from collections.abc import Mapping

from bulkpresign.errors import (
    CredentialsError,
    LinkExpiredError,
    ParameterError,
    RefusedError,
    RegionError,
    SigningError,
)
from bulkpresign.model import Link, ObjectRef
from bulkpresign.signing.preserved import operation_query
from bulkpresign.signing.presigner import Presigner


class PutSigner:
    """Signs PUT links with the headers of their objects or parts, and with `headers`, which take precedence."""

    def __init__(self, presigner: Presigner, headers: Mapping[str, str]) -> None:
        self._presigner = presigner
        self._own = {name.lower(): value for name, value in headers.items()}

    async def __call__(self, put: Link, headers: Mapping[str, str]) -> Link:
        """The link. Raises LinkExpiredError where credentials ended, RefusedError for a header that can't be sent."""
        try:
            try:
                return self._signed(put, headers)
            except (CredentialsError, RegionError):
                await self._presigner.prepare([put.object])
                return self._signed(put, headers)
        except CredentialsError as error:
            raise LinkExpiredError(
                f"the PUT of {put.object.uri} can't be signed: {error}", code="RenewalFailed"
            ) from error
        except (ParameterError, SigningError, RegionError) as error:
            raise RefusedError(f"the PUT can't be signed: {error}", code="NotSigned") from error

    def _signed(self, put: Link, headers: Mapping[str, str]) -> Link:
        """The link of an object, or of a part: its url has an upload and a number then."""
        ref, query = ObjectRef(put.object.bucket, put.object.key), operation_query(put.url)
        if not query:
            return self._presigner.sign_put(ref, {**headers, **self._own})
        return self._presigner.sign_batch([ref], "PUT", headers={**put.headers, **headers}, query=query)[0]
