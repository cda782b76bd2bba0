"""Where a run's journal stands: beside its folder, never inside, unless another file is given."""

import os
import zlib
from pathlib import Path

from bulkpresign.errors import ParameterError
from bulkpresign.ledger.journal import Journal, belongs_to_another_run


def journal_of(
    given: str | os.PathLike[str] | None, verb: str, folder: str | os.PathLike[str], destination: str
) -> Journal:
    """The journal of a verb and a destination. A folder that is reached by two names has one.

    A folder that is downloaded into has `DIR.journal`, one that is uploaded from `DIR.put.journal`; where that is the
    journal of another destination, a second one whose name holds the destination's checksum. So it is if the two run at
    the same time.
    """
    if given is not None:
        return Journal(given, verb, destination)
    root = Path(os.path.realpath(folder))
    if not root.name:
        raise ParameterError(f"nothing is beside {root}: name a journal with --journal")
    stem = f"{root.name}" if verb == "get" else f"{root.name}.{verb}"
    file = root.with_name(f"{stem}.journal")
    own = root.with_name(f"{stem}.{zlib.crc32(os.fsencode(destination)):08x}.journal")
    if verb == "get":
        return Journal(file, verb, destination)
    if os.path.lexists(own) or belongs_to_another_run(file, verb, destination):
        file = own
    return Journal(file, verb, destination, other=own)
