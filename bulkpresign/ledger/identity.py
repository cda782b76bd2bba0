"""The identity of an object in the journal, the same in every run."""

from bulkpresign.model import Link, ObjectRef, endpoint_of, without_query
from bulkpresign.tables.columns import DST_URL


def identity(link: Link) -> str:
    """The identity of a link's object."""
    return identity_of(link.object, link.url)


def identity_of(ref: ObjectRef, url: str) -> str:
    """The identity of an object: endpoint (from the url of its link), bucket, key, version and path.

    The same key on another endpoint is another object. An object without a key has the url without its query instead.
    """
    if key := ref.key:  # without calls for what a field tells: each object of a run comes here
        path = key if ref.path is None else ref.path
        return f"{endpoint_of(url)}\0{ref.bucket}\0{key}\0{ref.version_id or ''}\0{path}"
    return f"{without_query(url)}\0\0\0{ref.version_id or ''}\0{ref.file_path}"


def copy_identity_of(ref: ObjectRef, url: str) -> str:
    """The identity of a copy. If links make it, it has the address of the copy: an object can be copied to several."""
    address = (ref.extra or {}).get(DST_URL)
    name = identity_of(ref, url)
    return f"{name}\0{without_query(address)}" if isinstance(address, str) and address else name
