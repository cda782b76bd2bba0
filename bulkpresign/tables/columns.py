"""The names that a manifest's columns have. Any other column is carried through."""

OBJECT_COLUMNS = ("bucket", "key", "version_id", "size", "etag", "checksum", "content_type", "path")

LINK_COLUMNS = (
    "bucket",
    "key",
    "version_id",
    "method",
    "url",
    "headers",
    "expires_at",
    "size",
    "etag",
    "checksum",
    "content_type",
    "path",
)

POST_COLUMNS = ("bucket", "key", "url", "fields", "expires_at", "path")

KNOWN = frozenset(OBJECT_COLUMNS) | frozenset(LINK_COLUMNS)

#: What the cells of a CSV without a header are.
HEADERLESS = ("bucket", "key", "version_id")
