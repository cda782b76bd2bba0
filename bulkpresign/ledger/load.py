"""The load of a run in words: how many requests are in flight, and what bounds it."""

from bulkpresign.events import LoadMeasured

_CAUSES = {
    "connection": "the rate of each connection",
    "capacity": "the link or the server",
    "throttled": "the server, which asked for fewer requests",
    "cpu": "this machine's CPU",
    "disk": "the disk",
    "rate limit": "--limit-rate",
    "requests": "the number of objects",
}


def bound_in_words(load: LoadMeasured) -> str:
    """The bound of the run in words: `the server's latency (48 ms)`, `this machine's CPU`."""
    if load.bound_by == "latency":
        return "the server's latency" + (f" ({load.latency * 1000:.0f} ms)" if load.latency else "")
    return _CAUSES.get(load.bound_by, load.bound_by)


def load_in_words(load: LoadMeasured) -> str:
    """`bound by: the server's latency (48 ms), 412 requests in flight`."""
    noun = "request" if load.in_flight == 1 else "requests"
    return f"bound by: {bound_in_words(load)}, {load.in_flight:,} {noun} in flight"
