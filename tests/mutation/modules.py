"""The tests of each module: the quick ones, and the wider ones for a change that those pass."""

_PARTS = "transfer/test_parallel transfer/test_parts_kept"
_QUICK = {
    "transfer/connection": "transfer/test_connection transfer/test_pouring transfer/test_bounds transfer/test_http",
    "transfer/http": "transfer/test_http transfer/test_pool",
    "transfer/pool": "transfer/test_pool transfer/test_http",
    "transfer/exchange": "transfer/test_bounds transfer/test_pouring transfer/test_connection",
    "transfer/answers": "transfer/test_pure fuzz/test_answers",
    "transfer/resuming": "transfer/test_resuming transfer/test_ranges transfer/test_parts_kept",
    "transfer/ranges": f"transfer/test_ranges {_PARTS}",
    "transfer/getting": f"transfer/test_getting transfer/test_engine transfer/test_retries {_PARTS}",
    "transfer/parallel": f"{_PARTS} transfer/test_lanes",
    "transfer/temporary": "transfer/test_temporary transfer/test_folder transfer/test_pure transfer/test_parallel",
    "transfer/folder": "transfer/test_folder transfer/test_temporary transfer/test_pure transfer/test_engine",
    "transfer/beneath": "transfer/test_folder",
    "transfer/bodies": "transfer/test_putting transfer/test_uploads transfer/test_retries transfer/test_http",
    "transfer/multipart": "transfer/test_uploads pipeline/test_uploads",
    "transfer/uploads": "transfer/test_uploads",
    "transfer/leases": "transfer/test_leases transfer/test_engine",
    "transfer/retrying": "transfer/test_pure transfer/test_retries transfer/test_pace transfer/test_parallel",
    "transfer/pace": "transfer/test_pace transfer/test_engine",
    "transfer/engine": "transfer/test_engine transfer/test_leases transfer/test_retries",
    "checksums": "test_checksums transfer/test_ranges proof/test_sums",
    "redact": "test_redact",
    "ledger/journal": "ledger/test_journal ledger/test_recorder transfer/test_parts_kept",
    "ledger/recorder": "ledger/test_recorder ledger/test_journal",
    "pipeline/completed": "pipeline/test_recorded",
    "pipeline/present": "pipeline/test_recorded",
    "pipeline/evidence": "pipeline/test_recorded",
    "pipeline/renewing": "pipeline/test_renewing cli/test_renewal",
    "cli/closing": "cli/test_running cli/test_closing",
    "cli/running": "cli/test_running cli/test_closing",
}
_GET = "pipeline/test_get_in_parts cli/test_get cli/test_hostile_get cli/test_journal"
_PUT = "pipeline/test_put pipeline/test_uploads pipeline/test_upload_faults cli/test_put cli/test_uploads"
_HTTP = "transfer/test_retries fuzz/test_runs pipeline/test_get pipeline/test_put"
_WIDE = {
    **dict.fromkeys(_QUICK, _GET),
    **dict.fromkeys(("transfer/connection", "transfer/http", "transfer/pool", "transfer/exchange"), _HTTP),
    **dict.fromkeys(("transfer/answers", "transfer/retrying", "transfer/pace"), _HTTP),
    **dict.fromkeys(("transfer/bodies", "transfer/multipart", "transfer/uploads"), _PUT),
    "transfer/folder": f"proof/test_files proof/test_sums {_GET}",
    "checksums": f"pipeline/test_verify {_GET}",
    "redact": "fuzz/test_answers transfer/test_pure cli/test_secrets",
    **dict.fromkeys(
        ("pipeline/completed", "pipeline/present", "pipeline/evidence"), "cli/test_journal cli/test_evidence"
    ),
    "pipeline/renewing": "cli/test_get pipeline/test_get cli/test_secrets",
    "cli/closing": "cli/test_get cli/test_put cli/test_renewal cli/test_journal",
    "cli/running": "cli/test_get cli/test_put cli/test_renewal cli/test_options",
}

#: For each module, groups of test files, the quick group first.
MODULES: dict[str, list[tuple[str, ...]]] = {
    name: [tuple(f"tests/{test}.py" for test in group.split()) for group in (_QUICK[name], _WIDE[name])]
    for name in _QUICK
}
