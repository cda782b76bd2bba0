"""The settings of a run's transfers, as data that another process can be given."""

from typing import Self

import msgspec

from bulkpresign.http.client import Transport
from bulkpresign.transfer.downloads.existing import IfExists


class TransferSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a run's transfers, as data.

    `folder` is where local files are, absolute. `concurrency` objects are in flight, and `part_concurrency` parts of
    each large one; where they are None, as many as the run finds to be best, up to `max_concurrency` requests.
    `limit_rate` is bytes a second. The others are those of `get` and `put`; sizes are bytes.
    With `copies_on_server`, copies are left to their server. Copies in one request compute a digest of their bytes by
    the algorithm `copy_digest` (None: none). `copies_tags` is True where copies have the tags of their objects, if
    these are known.
    """

    folder: str = ""
    concurrency: int | None = None
    max_concurrency: int = 1024
    part_size: int | None = None
    part_concurrency: int | None = None
    attempts: int = 5
    limit_rate: int | None = None
    if_exists: IfExists = "replace"
    max_object_size: int | None = None
    rechecks: bool = False
    fsync: bool = False
    keeps_checkpoints: bool = False
    copies_on_server: bool = False
    copy_digest: str | None = None
    copies_tags: bool = True
    ca_bundle: str | None = None
    transport: Transport = "auto"

    def share(self, count: int) -> Self:
        """The specification of each of `count` executors that share the bounds of this one."""

        def part(total: int) -> int:
            return max(1, total // count)

        return msgspec.structs.replace(
            self,
            concurrency=None if self.concurrency is None else part(self.concurrency),
            max_concurrency=part(self.max_concurrency),
            limit_rate=None if self.limit_rate is None else part(self.limit_rate),
        )
