"""A database for rows of one run, in a temporary file."""

import sqlite3

#: SQLite's page cache in KiB; the rows themselves are in the file.
_CACHE_KIB = 8 * 1024


def temporary_database() -> sqlite3.Connection:
    """A database in a temporary file without a name, which disappears when the process ends."""
    database = sqlite3.connect("", isolation_level=None)
    for pragma in ("journal_mode=MEMORY", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
        database.execute(f"PRAGMA {pragma}")
    return database
