"""The names of a manifest's columns. All other columns are carried through."""

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

#: A carried column that listings and `sign --head` fill: RFC 3339 in UTC, such as 2026-01-31T12:00:00Z.
LAST_MODIFIED = "last_modified"
#: A carried column that `sign --head` fills: the bytes of each part but the last, for an object uploaded in parts.
PART_SIZE = "part_size"

#: The storage class or the tier in which an inventory lists an object. It is not carried: in the row of a PUT link,
#: `storage_class` is that of a new object.
LISTED_CLASS = "listed_storage_class"
#: The storage classes, and the tiers of INTELLIGENT_TIERING, from which objects are restored before they can be read.
#: Source: docs "Working with archived objects".
ARCHIVED_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE", "ARCHIVE", "ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"})

#: Carried columns of whole numbers.
NUMBER_COLUMNS = frozenset({PART_SIZE, "part_number", "offset"})

POST_COLUMNS = ("bucket", "key", "url", "fields", "expires_at", "path")

KNOWN = frozenset(OBJECT_COLUMNS) | frozenset(LINK_COLUMNS) | {LISTED_CLASS}

#: The carried columns that set an option of a row's link. `storage_class` is not among them, because listings have a
#: column `StorageClass` with the class of the existing object.
OPTIONS = (
    "filename",
    "response_content_type",
    "response_content_disposition",
    "response_content_encoding",
    "response_content_language",
    "response_cache_control",
    "response_expires",
    "request_payer",
    "checksum_mode",
    "cache_control",
    "content_disposition",
    "content_encoding",
    "metadata",
    "tagging",
    "acl",
    "sse",
    "sse_kms_key_id",
    "sse_customer_key",
    "if_none_match",
    "region",
)
#: Options that no column sets: a cell with a value is an error where it would not be used.
OPTIONS_OF_ALL = ("expires_in", "max_size", "success_status")

_BLANKS = str.maketrans("", "", "_- ")
#: The columns that are also read as other tools spell them, by their name in lower case without `_`, `-` and spaces.
_SPELLED = {name.translate(_BLANKS): name for name in (*KNOWN, LAST_MODIFIED, *OPTIONS, *OPTIONS_OF_ALL)} | {
    "lastmodifieddate": LAST_MODIFIED
}


def column_name(name: str) -> str:
    """Our name of a column: `ETag` and `e_tag` are `etag`, `If-None-Match` is `if_none_match`. Others do not change."""
    return _SPELLED.get(name.translate(_BLANKS).lower(), name)


#: The columns of a CSV file without a header.
HEADERLESS = ("bucket", "key", "version_id")

#: The columns of the PUT link for an object's copy.
DST_BUCKET, DST_KEY, DST_URL, DST_HEADERS = "dst_bucket", "dst_key", "dst_url", "dst_headers"
DST_COLUMNS = (DST_BUCKET, DST_KEY, DST_URL, DST_HEADERS)
#: The method of the second link, for the copies of `sign --to` in parts; empty: PUT.
DST_METHOD = "dst_method"
