"""Bulk work with presigned S3 URLs: lists of keys become links, links move the bytes.

Everything here is re-exported lazily (PEP 562): `import bulkpresign` costs nothing until a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bulkpresign.errors import BulkpresignError as BulkpresignError
    from bulkpresign.errors import CredentialsError as CredentialsError
    from bulkpresign.errors import InputError as InputError
    from bulkpresign.errors import ListingError as ListingError
    from bulkpresign.errors import ManifestError as ManifestError
    from bulkpresign.errors import NameRefusedError as NameRefusedError
    from bulkpresign.errors import OutputError as OutputError
    from bulkpresign.errors import ParameterError as ParameterError
    from bulkpresign.errors import SigningError as SigningError
    from bulkpresign.errors import TransferError as TransferError
    from bulkpresign.guide import create_presigned_post as create_presigned_post
    from bulkpresign.guide import create_presigned_url as create_presigned_url
    from bulkpresign.guide import create_presigned_url_expanded as create_presigned_url_expanded
    from bulkpresign.model import Link as Link
    from bulkpresign.model import ObjectRef as ObjectRef
    from bulkpresign.model import Outcome as Outcome
    from bulkpresign.model import Post as Post
    from bulkpresign.model import Report as Report
    from bulkpresign.pipeline.config import TransferConfig as TransferConfig
    from bulkpresign.pipeline.get import get as get
    from bulkpresign.pipeline.post import post as post
    from bulkpresign.pipeline.put import put as put
    from bulkpresign.pipeline.sign import sign as sign
    from bulkpresign.pipeline.verify import verify as verify
    from bulkpresign.signing.options import LinkOptions as LinkOptions
    from bulkpresign.signing.presigner import Presigner as Presigner

_HOMES = {
    "BulkpresignError": "errors",
    "CredentialsError": "errors",
    "InputError": "errors",
    "Link": "model",
    "LinkOptions": "signing.options",
    "ListingError": "errors",
    "ManifestError": "errors",
    "NameRefusedError": "errors",
    "ObjectRef": "model",
    "Outcome": "model",
    "OutputError": "errors",
    "ParameterError": "errors",
    "Post": "model",
    "Presigner": "signing.presigner",
    "Report": "model",
    "SigningError": "errors",
    "TransferConfig": "pipeline.config",
    "TransferError": "errors",
    "create_presigned_post": "guide",
    "create_presigned_url": "guide",
    "create_presigned_url_expanded": "guide",
    "get": "pipeline.get",
    "post": "pipeline.post",
    "put": "pipeline.put",
    "sign": "pipeline.sign",
    "verify": "pipeline.verify",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the keys are names


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
