"""The tests of each module: the quick ones, and the wider ones for a change that those pass."""

# ruff: noqa: E501 - one line a module

_PARTS = "transfer/downloads/test_ranged transfer/downloads/test_kept_parts"
_CHECKSUMS = tuple(f"checksums/{name}" for name in ("algorithms", "expected", "sources", "verifier", "segments"))
_COPIES = tuple(
    f"transfer/copies/{name}" for name in ("body", "copier", "head", "multipart", "parts", "single", "source")
)
_UPLOADS = tuple(f"transfer/uploads/{name}" for name in ("multipart", "parts", "parts_upload"))
_TAGS = ("transfer/copies/tags", "transfer/copies/tag_settler", "pipeline/run/object_tags")
_CONVERT = ("manifest/link_lists", "manifest/forms", "manifest/page", "pipeline/rows/converted", "pipeline/convert")
_QUICK = {
    "http/protocol": "http/test_protocol",
    "http/connection": "http/test_connection http/test_streaming http/test_bounds http/test_client",
    "http/callback_connection": "http/test_send_each http/test_step_scheduler",
    "http/client": "http/test_client http/test_pool http/test_transport",
    "http/request_head": "http/test_client http/test_connection",
    "http/pool": "http/test_pool http/test_client http/test_observability",
    "http/resolver": "http/test_pool http/test_client",
    "http/response": "http/test_bounds http/test_streaming http/test_connection",
    "http/outages": "transfer/engine/test_outages",
    "http/transcoding": "pipeline/test_decompressed",
    "http/step_scheduler": "http/test_step_scheduler",
    "http/s3_errors": "transfer/test_pure fuzz/test_answers",
    "transfer/downloads/content_range": "transfer/downloads/test_content_range transfer/downloads/test_ranges",
    "transfer/downloads/steps": "transfer/downloads/test_steps transfer/downloads/test_ranges transfer/downloads/test_kept_parts",
    "transfer/downloads/ranges": f"transfer/downloads/test_ranges {_PARTS}",
    "transfer/downloads/download": f"transfer/downloads/test_download transfer/engine/test_workers transfer/engine/test_retries {_PARTS}",
    "transfer/downloads/ranged": f"{_PARTS} transfer/downloads/test_slow_parts",
    "transfer/downloads/rehash": "transfer/downloads/test_download transfer/downloads/test_kept_parts",
    "transfer/downloads/slow_parts": "transfer/downloads/test_slow_parts",
    "transfer/disk/case": "transfer/disk/test_case",
    "transfer/disk/temporary": "transfer/disk/test_temporary transfer/disk/test_folder transfer/test_pure transfer/downloads/test_ranged",
    "transfer/disk/folder": "transfer/disk/test_folder transfer/disk/test_temporary transfer/test_pure transfer/engine/test_workers",
    "transfer/disk/beneath": "transfer/disk/test_folder",
    "transfer/uploads/body": "transfer/uploads/test_single transfer/uploads/test_multipart transfer/engine/test_retries http/test_client",
    "transfer/uploads/store": "transfer/uploads/test_single transfer/uploads/test_multipart transfer/engine/test_retries",
    **dict.fromkeys(_UPLOADS, "transfer/uploads/test_multipart pipeline/test_uploads"),
    "transfer/uploads/requests": "transfer/uploads/test_multipart",
    "transfer/uploads/single": "transfer/uploads/test_single transfer/engine/test_retries",
    "transfer/uploads/plain": "transfer/engine/test_plain_jobs",
    **dict.fromkeys(_COPIES, "transfer/copies/test_copier transfer/copies/test_head pipeline/test_copy"),
    "transfer/copies/plain": "transfer/copies/test_plain",
    **dict.fromkeys(_TAGS, "pipeline/test_copied_tags"),
    "pipeline/verification/metadata": "pipeline/test_compare_metadata",
    "transfer/copies/composite": "transfer/copies/test_on_server pipeline/test_copied_checksums",
    "transfer/copies/on_server": "transfer/copies/test_on_server pipeline/test_server_copies",
    "manifest/copies": "manifest/test_copies",
    "pipeline/run/linked_copies": "pipeline/test_copied_parts",
    "pipeline/rows/copy_targets": "pipeline/test_copied_parts",
    **dict.fromkeys(_CONVERT, "cli/test_convert"),
    "manifest/rewritten": "manifest/test_keys",
    "limits": "transfer/copies/test_head",
    "tasks": "test_tasks",
    "pipeline/run/guards": "pipeline/test_guarded_copies",
    "pipeline/run/planning": "pipeline/test_plan",
    "transfer/engine/renewal": "transfer/engine/test_renewal transfer/engine/test_workers",
    "transfer/engine/retries": "transfer/test_pure transfer/engine/test_retries transfer/engine/test_limiter transfer/downloads/test_ranged",
    "transfer/engine/limiter": "transfer/engine/test_limiter transfer/engine/test_workers",
    "transfer/engine/workers": "transfer/engine/test_workers transfer/engine/test_renewal transfer/engine/test_retries",
    **dict.fromkeys(_CHECKSUMS, "test_checksums transfer/downloads/test_ranges proof/test_hashing"),
    "source/page": "source/test_page",
    **dict.fromkeys(("source/lister", "source/points"), "source/test_lister"),
    "source/key_space": "source/test_key_space source/test_lister",
    "pipeline/sources/listings": "pipeline/test_listings",
    "proof/merge": "proof/test_merge",
    "proof/comparison": "proof/test_comparison",
    "proof/merkle": "proof/test_merkle",
    "proof/certificate": "proof/test_certificate",
    "tables/sorting": "tables/test_sorting",
    "redact": "test_redact",
    "ledger/journal": "ledger/test_journal ledger/test_recorder transfer/downloads/test_kept_parts",
    "ledger/earlier": "ledger/test_earlier ledger/test_journal",
    "ledger/recorder": "ledger/test_recorder ledger/test_journal",
    "ledger/figures": "ledger/test_figures ledger/test_page",
    "ledger/merge": "ledger/test_merge cli/test_merge",
    "pipeline/run/completed": "pipeline/test_recorded",
    "pipeline/run/present": "pipeline/test_recorded",
    "pipeline/run/evidence": "pipeline/test_recorded",
    "pipeline/sources/renewals": "pipeline/test_renewals cli/test_renewal",
    "pipeline/sources/own_files": "cli/test_put",
    "pipeline/run/same_files": "pipeline/test_get",
    "scale/worker": "scale/test_get scale/test_put",
    "scale/sign_worker": "scale/test_sign",
    "scale/renewals": "scale/test_rules",
    "scale/verifying": "scale/test_verify",
    "cli/summary": "cli/test_runner cli/test_summary",
    **dict.fromkeys(("cli/runner", "cli/ending"), "cli/test_runner cli/test_summary"),
}
_GET = "pipeline/test_get_in_parts cli/test_get cli/test_hostile_get cli/test_journal"
_PUT = "pipeline/test_put pipeline/test_uploads pipeline/test_upload_faults cli/test_put cli/test_uploads"
_HTTP = "transfer/engine/test_retries fuzz/test_runs pipeline/test_get pipeline/test_put"
_WIDE = {
    **dict.fromkeys(_QUICK, _GET),
    **dict.fromkeys(("http/protocol", "http/connection", "http/client", "http/request_head"), _HTTP),
    **dict.fromkeys(("http/pool", "http/resolver", "http/response"), _HTTP),
    **dict.fromkeys(("http/s3_errors", "transfer/engine/retries", "transfer/engine/limiter"), _HTTP),
    **dict.fromkeys(
        tuple(f"transfer/uploads/{name}" for name in ("body", "store", "requests", "single", "plain")), _PUT
    ),
    **dict.fromkeys(_UPLOADS, _PUT),
    "transfer/disk/folder": f"proof/test_files proof/test_hashing {_GET}",
    **dict.fromkeys(_CHECKSUMS, f"pipeline/test_verify {_GET}"),
    **dict.fromkeys(("source/page", "source/lister", "source/points"), "pipeline/test_listings"),
    **dict.fromkeys((*_COPIES, "pipeline/run/guards"), "pipeline/test_guarded_copies pipeline/test_copied_checksums"),
    "transfer/copies/copier": "pipeline/test_copied_tags pipeline/test_server_copies pipeline/test_copied_checksums",
    "transfer/copies/plain": "pipeline/test_copy pipeline/test_guarded_copies",
    **dict.fromkeys(_TAGS, "pipeline/test_copy scale/test_copy"),
    "pipeline/verification/metadata": "pipeline/test_compare cli/test_verify",
    **dict.fromkeys(("transfer/copies/composite", "transfer/copies/on_server"), "pipeline/test_copy"),
    **dict.fromkeys(("scale/renewals", "scale/verifying"), "scale/test_get scale/test_copy"),
    "scale/worker": "scale/test_coordinator scale/test_copy scale/test_clock scale/test_dask pipeline/test_copied_tags",
    "scale/sign_worker": "pipeline/test_sign",
    "http/transcoding": "pipeline/test_door_read pipeline/test_get",
    "http/step_scheduler": "transfer/engine/test_plain_jobs",
    "pipeline/sources/own_files": "pipeline/test_put cli/test_sources",
    "pipeline/run/planning": "cli/test_copy",
    "manifest/copies": "pipeline/test_copied_parts",
    **dict.fromkeys(("pipeline/run/linked_copies", "pipeline/rows/copy_targets"), "pipeline/test_copy cli/test_copy"),
    "pipeline/sources/listings": "cli/test_sources pipeline/test_sign",
    **dict.fromkeys(("proof/merge", "proof/comparison", "tables/sorting"), "pipeline/test_compare"),
    **dict.fromkeys(("proof/merkle", "proof/certificate"), "pipeline/test_certify"),
    "redact": "fuzz/test_answers transfer/test_pure cli/test_secrets",
    **dict.fromkeys(
        ("pipeline/run/completed", "pipeline/run/present", "pipeline/run/evidence"),
        "cli/test_journal cli/test_evidence",
    ),
    "pipeline/sources/renewals": "cli/test_get pipeline/test_get cli/test_secrets",
    "cli/summary": "cli/test_get cli/test_put cli/test_renewal cli/test_journal",
    **dict.fromkeys(("cli/runner", "cli/ending"), "cli/test_get cli/test_put cli/test_renewal cli/test_options"),
    **dict.fromkeys(_CONVERT, "readme/test_readme"),
    "manifest/rewritten": "cli/test_altered_manifests",
    "limits": "pipeline/test_plan",
    "tasks": "pipeline/test_door_outcomes",
}

#: For each module, groups of test files, the quick group first.
MODULES: dict[str, list[tuple[str, ...]]] = {
    name: [tuple(f"tests/{test}.py" for test in group.split()) for group in (_QUICK[name], _WIDE[name])]
    for name in _QUICK
}
