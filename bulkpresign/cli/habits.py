"""The names that other tools have for options of ours: aws, s5cmd, rclone, curl, wget and aria2."""

from collections.abc import Collection

_LEAVE_OUT = "leave it out;"
#: Their names; ours, None for any verb; and the advice, by default our name. The first that a verb has is used.
HABITS: tuple[tuple[str, str | None, str | None], ...] = (
    ("-r -R --recursive", None, f"{_LEAVE_OUT} s3://bucket/prefix/ and a folder are taken with all that is below"),
    ("-c --continue --resume", None, f"{_LEAVE_OUT} the same command again continues"),
    ("-u --update --size-only --checksum", None, f"{_LEAVE_OUT} what is there and matches is skipped"),
    ("-i --input-file", None, f"{_LEAVE_OUT} the file with the links or keys is SOURCE itself"),
    ("--no-sign-request", None, f"{_LEAVE_OUT} links need no credentials, and the url of a public object is one"),
    ("--delete", None, "no verb deletes objects or files that the source does not have"),
    ("-k --insecure --no-verify-ssl --no-check-certificate", "--ca-bundle", "--ca-bundle FILE names what to trust"),
    ("--json --json-log --use-json-log", "--progress", "use --progress json"),
    ("--no-progress --no-progress-bar --no-verbose", "--progress", "use --progress off"),
    ("-s --silent --only-show-errors", "--quiet", None),
    ("--debug --log --log-level", "--verbose", "use -vv"),
    ("-j -P --jobs --parallel --parallel-max --numworkers --workers --threads --transfers", "--concurrency", None),
    ("-x --split --max-connection-per-server --multi-thread-streams", "--part-concurrency", None),
    ("--multipart-chunksize --s3-chunk-size --min-split-size", "--part-size", None),
    ("--bwlimit --max-bandwidth --max-overall-download-limit --max-download-limit", "--limit-rate", None),
    ("-t --tries --retry --retries --retry-count --max-tries --max-attempts", "--attempts", None),
    ("-n --no-clobber --ignore-existing --skip-existing", "--if-exists", "use --if-exists keep"),
    ("-f --force --overwrite --allow-overwrite", "--if-exists", "use --if-exists replace, the default"),
    ("-d -O --dir --output-dir --output-document", "--method", "use -o FILE"),  # sign, whose --to is for copies
    ("-d -o -O --dir --output --output-dir --destination --directory-prefix", "--to", "use --to DIR"),
    ("-d --dir --input-dir", "--from", "use --from DIR"),
    (
        "--filter --exclude-from --include-from",
        "--exclude",
        "use --include GLOB and --exclude GLOB, any number of them",
    ),
    ("--max-age", "--newer-than", None),
    ("--min-age", "--older-than", None),
    ("-e --expire --expires --expiration --duration", "--expires-in", None),
    ("-X --http-method --request", "--method", None),
    (
        "--acl --storage-class --sse --sse-kms-key-id --metadata --tagging --cache-control --content-disposition",
        "--header",
        "use --header 'NAME: VALUE', such as 'x-amz-storage-class: STANDARD_IA'",
    ),
    ("--version-id", "--all-versions", "use a column version_id, or --all-versions"),
)


def advice_for(option: str, ours: Collection[str]) -> str | None:
    """The advice for an option of another tool, None without one. `ours` are the options of the verb."""
    for theirs, name, advice in HABITS:
        if option in theirs.split() and (name is None or name in ours):
            return advice or f"use {name}"
    return None
