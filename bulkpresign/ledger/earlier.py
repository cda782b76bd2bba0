"""The index by which the outcomes of earlier runs are found.

A run adds its outcomes at the end of a table, which costs the same in any order of objects. An index by identity would
be written all over for it. So the next run adds them to the index when it opens the journal: all at once and sorted,
which writes each page of the index once. A run needs no index of its own outcomes, as an object has one in a run.
"""

import sqlite3

from bulkpresign.ledger.schema import OUTCOMES, VERSION

_COLUMNS = "(id TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID"
#: The last number of all outcomes, and the last one in the index.
_LAST = """SELECT coalesce(max(number), 0),
    coalesce((SELECT CAST(value AS INTEGER) FROM about WHERE name = 'indexed'), 0) FROM outcomes"""
_ADD = "INSERT OR REPLACE INTO earlier SELECT id, max(number) FROM outcomes WHERE number > ? GROUP BY id"
_DELETE_OLDER = """DELETE FROM outcomes
    WHERE number > ? AND number < (SELECT number FROM earlier WHERE earlier.id = outcomes.id)"""
_UPGRADE = (
    "ALTER TABLE outcomes RENAME TO former",
    OUTCOMES,
    "INSERT INTO outcomes SELECT NULL, * FROM former",
    "DROP TABLE former",
    f"PRAGMA user_version = {VERSION}",
)
#: By the version of the file. The table of version 2 is its own index.
_TEMPORARY = {
    2: (
        "CREATE TEMP VIEW outcomes AS SELECT id AS number, * FROM main.outcomes",
        "CREATE TEMP VIEW earlier AS SELECT id, id AS number FROM main.outcomes",
    ),
    3: (
        f"CREATE TEMP TABLE earlier {_COLUMNS}",
        "INSERT INTO temp.earlier SELECT id, max(number) FROM main.outcomes GROUP BY id",
    ),
}


def index_outcomes(database: sqlite3.Connection) -> None:
    """Adds the outcomes of the last run to the index, in a transaction of the caller. Upgrades an older file.

    If an object has two outcomes in a run, the older one is deleted.
    """
    if _version(database) < VERSION:
        _execute_all(database, _UPGRADE)
    database.execute(f"CREATE TABLE IF NOT EXISTS earlier {_COLUMNS}")
    last, indexed = database.execute(_LAST).fetchone()
    if last == indexed:
        return
    if last < indexed:  # somebody deleted the last rows: new ones would get numbers that the index has for others
        database.execute("DELETE FROM earlier")
        indexed = 0
    added = database.execute(_ADD, (indexed,)).rowcount
    if added < last - indexed:
        database.execute(_DELETE_OLDER, (indexed,))
    database.execute("INSERT OR REPLACE INTO about VALUES ('indexed', ?)", (last,))


def index_temporarily(database: sqlite3.Connection) -> None:
    """Makes an index of all outcomes in a temporary file, for a journal that is not written, or new."""
    _execute_all(database, _TEMPORARY[_version(database)])


def _version(database: sqlite3.Connection) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def _execute_all(database: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    for statement in statements:
        database.execute(statement)
