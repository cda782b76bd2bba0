#!/bin/bash
# A Slurm array: each task downloads one shard of a manifest of links into a folder that all nodes share.
#
#     bulkpresign sign s3://my-data/reports/ -o links.csv --expires-in 12h    # where the credentials are
#     bulkpresign split links.csv -n 64                                       # links-001.csv to links-064.csv
#     sbatch --array=1-64 slurm_array.sh /shared/data
#     bulkpresign merge /shared/data-*.journal -o /shared/data.journal        # when all tasks have ended
#
# Tasks hold no credentials. A task that is requeued continues where it stopped: its journal tells what is done.
#SBATCH --cpus-per-task=1
#SBATCH --requeue
set -euo pipefail

to=$1
shard=$(printf '%03d' "$SLURM_ARRAY_TASK_ID")
exec bulkpresign get "links-$shard.csv" --to "$to" --journal "$to-$shard.journal" \
    --failures "$to-$shard-failed.csv" --progress off
