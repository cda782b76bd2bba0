"""The options that select among the objects of a source, with the names of Filters."""

from typing import TYPE_CHECKING, Any

from bulkpresign.cli.options import in_section, together
from bulkpresign.cli.units import count, moment, size

if TYPE_CHECKING:
    from bulkpresign.source.filters import Filters

_filter = in_section("Filters (an object has to pass all)")
_NAMES = ("include", "exclude", "min_size", "max_size", "newer_than", "older_than", "sample", "seed")

_names = together(
    _filter(
        "--include",
        multiple=True,
        metavar="GLOB",
        help="Only objects that match one of these. * and ? match no /, ** does. A GLOB with a / is compared with the "
        "path (the key after the prefix of SOURCE), one without with the name after the last /. Repeatable.",
    ),
    _filter("--exclude", multiple=True, metavar="GLOB", help="No objects that match one of these. Repeatable."),
)
_times_and_sample = together(
    _filter(
        "--newer-than",
        type=moment,
        metavar="TIME|AGE",
        help="Only objects modified at this time or later: 2026-01-31 or 2026-01-31T12:00:00Z (UTC), or an age: 7d.",
    ),
    _filter("--older-than", type=moment, metavar="TIME|AGE", help="Only objects modified before this."),
    _filter(
        "--sample",
        type=count,
        metavar="N",
        help="Only N objects, at random. All have the same chance. They are held in memory.",
    ),
    _filter("--seed", type=int, default=0, metavar="N", help="Another number gives another sample."),
)
_sizes = together(
    _filter("--min-size", type=size, metavar="SIZE", help="Only objects of at least this size."),
    _filter("--max-size", type=size, metavar="SIZE", help="Only objects of at most this size."),
)
limit = _filter("--limit", type=count, metavar="N", help="Only the first N objects.")
#: All filters but `--limit`: verbs that transfer have one that does not count what is done.
filters = together(_names, _sizes, _times_and_sample)
#: Those of `post`, which has another `--max-size`.
filters_without_sizes = together(_names, _times_and_sample)


def pop_filters(settings: dict[str, Any], *, has_limit: bool = False) -> "Filters | None":
    """Removes the filters from a command's settings and returns them; None if none is given.

    `has_limit`: `limit` is one of them. Raises ParameterError.
    """
    from bulkpresign.source.filters import Filters

    names = [*_NAMES, "limit"] if has_limit else _NAMES
    found = Filters(**{name: settings.pop(name) for name in names if name in settings})
    return None if found == Filters(seed=found.seed) else found
