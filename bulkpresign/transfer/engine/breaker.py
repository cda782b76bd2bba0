"""Stops a run in which all objects fail with the same error."""

from collections.abc import Sequence

from bulkpresign.errors import BreakerError
from bulkpresign.model import Outcome

#: This many consecutive failures with the same cause, without a success between them, stop a run.
BREAKER_FAILURES = 50
#: So many denied objects, and nothing else from the start of a run, stop it: a policy denies the others as well.
FIRST_DENIED = 10_000
_DENIED = "AccessDenied"
#: Causes that concern the run and not a single object. A bucket or a disk that is full is a QuotaExceeded of Ceph, and
#: one of those with XMinio of MinIO. R2 refuses AWS's regions; Alibaba, Tencent and Huawei refuse the path style.
COMMON_CAUSES = frozenset(
    {
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "Certificate",
        "DiskFull",
        "ExpiredToken",
        "HTTP507",
        "Internal",
        "InvalidAccessKeyId",
        "InvalidRegionName",
        "InvalidToken",
        "MissingContentMD5",
        "NoConnection",
        "NoSuchBucket",
        "NoSuchHost",
        "PathStyleDomainForbidden",
        "PermanentRedirect",
        "PermissionError",
        "QuotaExceeded",
        "RenewalFailed",
        "RequestTimeTooSkewed",
        "SecondLevelDomainForbidden",
        "SignatureDoesNotMatch",
        "UserSuspended",
        "VirtualHostDomainRequired",
        "XMinioAdminBucketQuotaExceeded",
        "XMinioStorageFull",
    }
)

#: Causes that make every object fail: the first failure stops the run.
FATAL_CAUSES = frozenset({"Proxy"})


class CircuitBreaker:
    """Stops a run in which all objects fail with the same error, before it fails for millions of objects."""

    def __init__(self, failures: int = BREAKER_FAILURES, *, stops_denied: bool = True) -> None:
        """With `stops_denied`, a run of which nothing but denied objects is known stops."""
        self._most = failures
        self._cause: str | None = None
        self._count = 0
        #: The objects since the start, as long as all of them are denied.
        self._denied: int | None = 0 if stops_denied else None

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Counts outcomes. Raises BreakerError after too many consecutive failures with the same common cause.

        A fatal cause raises it at the first failure, and a denied access if there is nothing else from the start. After
        that it is that of single objects, as S3 denies access to a key that is missing.
        """
        for outcome in outcomes:
            if outcome.status in {"failed", "expired"}:
                self._count_failure(outcome)
            else:
                self._cause = self._denied = None

    def _count_failure(self, outcome: Outcome) -> None:
        cause = outcome.code
        if self._denied is not None:
            self._note_denied(outcome)
        if cause in FATAL_CAUSES:
            raise BreakerError(f"{outcome.message}, so the run ends")
        if cause not in COMMON_CAUSES:
            self._cause, self._count = None, 0
            return
        self._count = self._count + 1 if cause == self._cause else 1
        self._cause = cause
        if self._count >= self._most:
            raise BreakerError(f"stopped: the last {self._count} objects all failed with {cause}: {outcome.message}")

    def _note_denied(self, outcome: Outcome) -> None:
        self._denied = (self._denied or 0) + 1 if outcome.code == _DENIED else None
        if self._denied == FIRST_DENIED:
            raise BreakerError(
                f"stopped: the first {FIRST_DENIED:,} objects were all denied: {outcome.message}; --exclude leaves out "
                "what may not be read or written"
            )
