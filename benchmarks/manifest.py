"""CSV to CSV on the command line, beside the obvious loop of boto3 and csv: rows a second of wall time, peak memory."""

import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import goal, run, show
from benchmarks.sign import ACCESS, BUCKET, REGION, SECRET, make_keys

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": ACCESS,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}

OBVIOUS_LOOP = """
import csv, sys
import boto3
from botocore.config import Config

client = boto3.client("s3", config=Config(signature_version="s3v4"))
with open(sys.argv[1], newline="") as source, open(sys.argv[2], "w", newline="") as target:
    rows = csv.DictReader(source)
    writer = csv.writer(target)
    writer.writerow(["bucket", "key", "url"])
    for row in rows:
        url = client.generate_presigned_url("get_object", {"Bucket": row["bucket"], "Key": row["key"]})
        writer.writerow([row["bucket"], row["key"], url])
"""


def main(*, quick: bool) -> None:
    rows = 200_000 if quick else 2_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many, most = rows // 100, rows, rows * 5
        ours = run(_sign(_keys(folder, many), folder), ENVIRONMENT)
        loop = run(
            [sys.executable, "-c", OBVIOUS_LOOP, str(_keys(folder, few)), str(folder / "loop.csv")],
            ENVIRONMENT,
        )
        more = run(_sign(_keys(folder, most), folder), ENVIRONMENT)
    rates = {"bulkpresign sign": many / ours.wall, "boto3 and csv": few / loop.wall}
    show(
        f"Rows per second, CSV to CSV ({many:,} and {few:,} rows)",
        "rows/s",
        rates,
        "boto3 and csv",
        more_is_better=True,
    )
    print(f"\n  peak memory: {ours.memory:.0f} MiB for {many:,} rows, {more.memory:.0f} MiB for {most:,} rows\n")
    goal("rows/s against boto3 and csv", rates["bulkpresign sign"] / rates["boto3 and csv"], least=60)
    goal("peak memory in MB", ours.memory * 1.048576, most=150)
    goal("peak memory in MB, five times the rows", more.memory * 1.048576, most=150)


def _keys(folder: Path, count: int) -> Path:
    file = folder / f"keys-{count}.csv"
    with file.open("w") as stream:
        stream.write("bucket,key\n")
        for at in range(0, count, 100_000):
            stream.writelines(f"{BUCKET},{key}\n" for key in make_keys(min(100_000, count - at)))
    return file


def _sign(source: Path, folder: Path) -> list[str]:
    return [sys.executable, "-m", "bulkpresign", "sign", str(source), "-o", str(folder / "links.csv"), "-q"]
