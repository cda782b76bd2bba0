"""Bulk work with presigned S3 URLs: lists of keys become links, links move the bytes.

Everything here is re-exported lazily (PEP 562): `import bulkpresign` costs nothing until a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bulkpresign.aws import AwsSession as AwsSession
    from bulkpresign.errors import BreakerError as BreakerError
    from bulkpresign.errors import BulkpresignError as BulkpresignError
    from bulkpresign.errors import ConnectionFailedError as ConnectionFailedError
    from bulkpresign.errors import CredentialsError as CredentialsError
    from bulkpresign.errors import DaemonEndedError as DaemonEndedError
    from bulkpresign.errors import DaemonError as DaemonError
    from bulkpresign.errors import InputError as InputError
    from bulkpresign.errors import JournalError as JournalError
    from bulkpresign.errors import LinkExpiredError as LinkExpiredError
    from bulkpresign.errors import ListingError as ListingError
    from bulkpresign.errors import ManifestError as ManifestError
    from bulkpresign.errors import MismatchError as MismatchError
    from bulkpresign.errors import NameRefusedError as NameRefusedError
    from bulkpresign.errors import OpenFilesError as OpenFilesError
    from bulkpresign.errors import OutputError as OutputError
    from bulkpresign.errors import ParameterError as ParameterError
    from bulkpresign.errors import RefusedError as RefusedError
    from bulkpresign.errors import RegionError as RegionError
    from bulkpresign.errors import ServerError as ServerError
    from bulkpresign.errors import SigningError as SigningError
    from bulkpresign.errors import StorageError as StorageError
    from bulkpresign.errors import ThrottledError as ThrottledError
    from bulkpresign.errors import TransferError as TransferError
    from bulkpresign.errors import TruncatedError as TruncatedError
    from bulkpresign.errors import WorkerLostError as WorkerLostError
    from bulkpresign.events import BytesMoved as BytesMoved
    from bulkpresign.events import BytesResumed as BytesResumed
    from bulkpresign.events import Event as Event
    from bulkpresign.events import Listener as Listener
    from bulkpresign.events import LoadMeasured as LoadMeasured
    from bulkpresign.events import ObjectFinished as ObjectFinished
    from bulkpresign.events import ObjectRetried as ObjectRetried
    from bulkpresign.events import ObjectsFinished as ObjectsFinished
    from bulkpresign.events import ObjectsSigned as ObjectsSigned
    from bulkpresign.events import ObjectsSkipped as ObjectsSkipped
    from bulkpresign.events import PartFinished as PartFinished
    from bulkpresign.events import ReadBackFailed as ReadBackFailed
    from bulkpresign.events import ResumePointChanged as ResumePointChanged
    from bulkpresign.events import RowsRead as RowsRead
    from bulkpresign.events import RunFinished as RunFinished
    from bulkpresign.events import RunStarted as RunStarted
    from bulkpresign.events import SourceEnded as SourceEnded
    from bulkpresign.events import TagsDropped as TagsDropped
    from bulkpresign.events import UploadLeftOpen as UploadLeftOpen
    from bulkpresign.guide import create_presigned_post as create_presigned_post
    from bulkpresign.guide import create_presigned_url as create_presigned_url
    from bulkpresign.guide import create_presigned_url_expanded as create_presigned_url_expanded
    from bulkpresign.ledger.report import JournalReport as JournalReport
    from bulkpresign.model import Certificate as Certificate
    from bulkpresign.model import Evidence as Evidence
    from bulkpresign.model import Link as Link
    from bulkpresign.model import Method as Method
    from bulkpresign.model import ObjectRef as ObjectRef
    from bulkpresign.model import Outcome as Outcome
    from bulkpresign.model import Post as Post
    from bulkpresign.model import Report as Report
    from bulkpresign.pipeline.abort import abort as abort
    from bulkpresign.pipeline.certify import prove as prove
    from bulkpresign.pipeline.certify import verify_certificate as verify_certificate
    from bulkpresign.pipeline.certify import write_certificate as write_certificate
    from bulkpresign.pipeline.compare import compare as compare
    from bulkpresign.pipeline.convert import ConvertReport as ConvertReport
    from bulkpresign.pipeline.convert import convert as convert
    from bulkpresign.pipeline.copy import copy as copy
    from bulkpresign.pipeline.get import get as get
    from bulkpresign.pipeline.merge import merge as merge
    from bulkpresign.pipeline.outcomes import Outcomes as Outcomes
    from bulkpresign.pipeline.outcomes import copy_outcomes as copy_outcomes
    from bulkpresign.pipeline.outcomes import get_outcomes as get_outcomes
    from bulkpresign.pipeline.outcomes import put_outcomes as put_outcomes
    from bulkpresign.pipeline.post import post as post
    from bulkpresign.pipeline.put import put as put
    from bulkpresign.pipeline.read import Reading as Reading
    from bulkpresign.pipeline.read import read as read
    from bulkpresign.pipeline.report import report as report
    from bulkpresign.pipeline.run.config import TransferConfig as TransferConfig
    from bulkpresign.pipeline.sign import SignReport as SignReport
    from bulkpresign.pipeline.sign import sign as sign
    from bulkpresign.pipeline.split import SplitPart as SplitPart
    from bulkpresign.pipeline.split import SplitReport as SplitReport
    from bulkpresign.pipeline.split import split as split
    from bulkpresign.pipeline.verification.counts import VerifyReport as VerifyReport
    from bulkpresign.pipeline.verify import verify as verify
    from bulkpresign.proof.certificate import Proof as Proof
    from bulkpresign.signing.options import LinkOptions as LinkOptions
    from bulkpresign.signing.presigner import Presigner as Presigner
    from bulkpresign.source.filters import Filters as Filters

_HOMES = {
    "AwsSession": "aws",
    "BreakerError": "errors",
    "BulkpresignError": "errors",
    "BytesMoved": "events",
    "BytesResumed": "events",
    "Certificate": "model",
    "ConnectionFailedError": "errors",
    "ConvertReport": "pipeline.convert",
    "CredentialsError": "errors",
    "DaemonEndedError": "errors",
    "DaemonError": "errors",
    "Event": "events",
    "Evidence": "model",
    "Filters": "source.filters",
    "InputError": "errors",
    "JournalError": "errors",
    "JournalReport": "ledger.report",
    "Link": "model",
    "LinkExpiredError": "errors",
    "LinkOptions": "signing.options",
    "Listener": "events",
    "ListingError": "errors",
    "LoadMeasured": "events",
    "ManifestError": "errors",
    "Method": "model",
    "MismatchError": "errors",
    "NameRefusedError": "errors",
    "ObjectFinished": "events",
    "ObjectRef": "model",
    "ObjectRetried": "events",
    "ObjectsFinished": "events",
    "ObjectsSigned": "events",
    "ObjectsSkipped": "events",
    "OpenFilesError": "errors",
    "Outcome": "model",
    "Outcomes": "pipeline.outcomes",
    "OutputError": "errors",
    "ParameterError": "errors",
    "PartFinished": "events",
    "Post": "model",
    "Presigner": "signing.presigner",
    "Proof": "proof.certificate",
    "ReadBackFailed": "events",
    "Reading": "pipeline.read",
    "RefusedError": "errors",
    "RegionError": "errors",
    "Report": "model",
    "ResumePointChanged": "events",
    "RowsRead": "events",
    "RunFinished": "events",
    "RunStarted": "events",
    "ServerError": "errors",
    "SignReport": "pipeline.sign",
    "SigningError": "errors",
    "SourceEnded": "events",
    "SplitPart": "pipeline.split",
    "SplitReport": "pipeline.split",
    "StorageError": "errors",
    "TagsDropped": "events",
    "ThrottledError": "errors",
    "TransferConfig": "pipeline.run.config",
    "TransferError": "errors",
    "TruncatedError": "errors",
    "UploadLeftOpen": "events",
    "VerifyReport": "pipeline.verification.counts",
    "WorkerLostError": "errors",
    "abort": "pipeline.abort",
    "compare": "pipeline.compare",
    "convert": "pipeline.convert",
    "copy": "pipeline.copy",
    "copy_outcomes": "pipeline.outcomes",
    "create_presigned_post": "guide",
    "create_presigned_url": "guide",
    "create_presigned_url_expanded": "guide",
    "get": "pipeline.get",
    "get_outcomes": "pipeline.outcomes",
    "merge": "pipeline.merge",
    "post": "pipeline.post",
    "prove": "pipeline.certify",
    "put": "pipeline.put",
    "put_outcomes": "pipeline.outcomes",
    "read": "pipeline.read",
    "report": "pipeline.report",
    "sign": "pipeline.sign",
    "split": "pipeline.split",
    "verify": "pipeline.verify",
    "verify_certificate": "pipeline.certify",
    "write_certificate": "pipeline.certify",
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
