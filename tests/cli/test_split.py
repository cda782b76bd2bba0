"""`split`: balanced, by value, in every format, and nothing half written."""

import asyncio
import csv
import gzip
import io
import json
import unicodedata
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.pipeline.split import MOST_PARTS
from tests.support.cli import run
from tests.support.folders import names_in
from tests.support.tables import rows_of, table


def split(folder: Path, *arguments: str, given: str = "") -> list[dict[str, str]]:
    """The rows that it prints."""
    done = run("split", *arguments, folder=folder, given=given)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def refused(folder: Path, *arguments: str, given: str = "") -> str:
    before = names_in(folder)
    done = run("split", *arguments, folder=folder, given=given)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert names_in(folder) == before
    return done.stderr.strip().splitlines()[-1]


def test_parts_have_about_the_same_bytes(tmp_path: Path) -> None:
    """No two differ by more than the largest object; and each row is in one part, in the order of the table."""
    sizes = [(number * 7919) % 1000 + 1 for number in range(2000)]
    rows = [{"bucket": "bkt", "key": f"{n}", "size": size, "note": f"a,{n}"} for n, size in enumerate(sizes)]
    table(tmp_path / "links.csv", rows)
    printed = split(tmp_path, "links.csv", "-n", "7", "-o", "to/parts")
    assert [row["file"] for row in printed] == [f"to/parts/links-{number:03}.csv" for number in range(1, 8)]
    found = [rows_of(tmp_path / row["file"]) for row in printed]
    totals = [sum(int(row["size"]) for row in part) for part in found]
    assert [(len(part), total) for part, total in zip(found, totals, strict=True)] == [
        (int(row["objects"]), int(row["bytes"])) for row in printed
    ]
    assert max(totals) - min(totals) <= max(sizes)
    for part in found:
        assert [int(row["key"]) for row in part] == sorted(int(row["key"]) for row in part)
    merged = sorted((row for part in found for row in part), key=lambda row: int(row["key"]))
    assert merged == [{name: str(value) for name, value in row.items()} for row in rows]


def test_a_table_with_tabs_becomes_one_with_commas(tmp_path: Path) -> None:
    (tmp_path / "k.tsv").write_text("bucket\tkey\nbkt\ta\n")
    assert [row["file"] for row in split(tmp_path, "k.tsv", "-n", "1")] == ["k-001.csv"]
    assert (tmp_path / "k-001.csv").read_text() == "bucket,key\nbkt,a\n"


def test_objects_without_a_size_are_dealt_by_number(tmp_path: Path) -> None:
    table(tmp_path / "k.csv", [{"bucket": "bkt", "key": f"{n}", "size": "" if n % 2 else 0} for n in range(100)])
    assert [row["objects"] for row in split(tmp_path, "k.csv", "-n", "4")] == ["25"] * 4
    assert names_in(tmp_path) == ["k-001.csv", "k-002.csv", "k-003.csv", "k-004.csv", "k.csv"]


def test_more_parts_than_rows(tmp_path: Path) -> None:
    table(tmp_path / "k.csv", [{"bucket": "bkt", "key": "a"}])
    assert [row["objects"] for row in split(tmp_path, "k.csv", "-n", "3", "-o", "to")] == ["1", "0", "0"]
    assert (tmp_path / "to" / "k-003.csv").read_text() == "bucket,key\n"


VALUES = ["north", "South", "a/../b", "", "north", "south", "a b", "a_b", "none", "é", "München", "Mönchen", "株式会社"]


def by_value(folder: Path, values: list[str], to: str) -> dict[str, str]:
    """The file of each value, as `split` prints them. Checks that it has the rows of the value."""
    table(folder / "k.csv", [{"bucket": "bkt", "key": f"{n}", "partner": value} for n, value in enumerate(values)])
    printed = split(folder, "k.csv", "--by", "partner", "-o", to)
    assert list(printed[0]) == ["file", "objects", "bytes", "value"]
    assert sorted(row["file"] for row in printed) == sorted(f"{to}/{name}" for name in names_in(folder / to))
    for row in printed:
        found = [read["partner"] for read in rows_of(folder / row["file"])]
        assert found == [row["value"]] * int(row["objects"]) == [row["value"]] * values.count(row["value"])
    return {row["value"]: row["file"].removeprefix(f"{to}/k-").removesuffix(".csv") for row in printed}


def test_by_the_values_of_a_column(tmp_path: Path) -> None:
    named = by_value(tmp_path, VALUES, "to")
    plain = ("north", "a_b", "none", "é", "München", "Mönchen", "株式会社")
    assert {value: named[value] for value in plain} == {value: value for value in plain}
    begins = {"South": "South-", "south": "south-", "a/../b": "a_.._b-", "": "none-", "a b": "a_b-"}
    assert [value for value, start in begins.items() if not named[value].startswith(start)] == []


def test_the_file_of_a_value_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    """Nor on the form in which a text has its accents: on macOS, both are one file."""
    values = [*VALUES, "u\u0308", "\u00fc", "a-\u00df", "a-SS", "😀", "x" * 300, "x" * 299, "字" * 99]
    named = by_value(tmp_path, values, "to")
    assert by_value(tmp_path, values[::-1], "reversed") == named
    folded = {unicodedata.normalize("NFC", name.casefold()) for name in named.values()}
    assert len(folded) == len(named)
    assert max(len(name.encode()) for name in named.values()) < 130


def test_a_value_that_looks_like_the_name_of_another(tmp_path: Path) -> None:
    given = by_value(tmp_path, ["a b"], "to")["a b"]
    assert len(set(by_value(tmp_path, ["a b", given], "both").values())) == 2


def test_no_value_in_json(tmp_path: Path) -> None:
    rows = [{"key": "a", "partner": None}, {"key": "b"}, {"key": "c", "partner": "none"}]
    (tmp_path / "k.jsonl").write_text("\n".join(map(json.dumps, rows)))
    printed = split(tmp_path, "k.jsonl", "--by", "partner")
    assert [(row["value"], row["objects"]) for row in printed] == [("", "2"), ("none", "1")]


def test_the_column_may_be_named_as_its_header_spells_it(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("Key,Region\na,eu-west-1\nb,us-east-1\n")
    for named in ("Region", "region"):
        printed = split(tmp_path, "k.csv", "--by", named)
        assert [row["value"] for row in printed] == ["eu-west-1", "us-east-1"]


def test_values_from_python(tmp_path: Path) -> None:
    table(tmp_path / "k.csv", [{"bucket": "bkt", "key": "a", "partner": "a b"}])
    report = asyncio.run(bp.split(tmp_path / "k.csv", tmp_path, by="partner"))
    assert [part.value for part in report.parts] == ["a b"]
    assert [part.value for part in asyncio.run(bp.split(tmp_path / "k.csv", tmp_path, parts=1)).parts] == [None]


def test_files_of_an_earlier_split_are_named(tmp_path: Path) -> None:
    """They hold links as well: who hands out all files of the folder hands out those."""
    table(tmp_path / "k.csv", [{"bucket": "bkt", "key": f"{n}", "p": "x,y"[n % 2 * 2]} for n in range(4)])
    split(tmp_path, "k.csv", "-n", "3", "-o", "to")
    (tmp_path / "to" / "other-001.csv").touch()
    done = run("split", "k.csv", "-n", "2", "-o", "to", folder=tmp_path)
    old = "was not written by this run, and may hold links of an earlier split: remove it, or use an empty folder"
    assert done.stderr.splitlines()[1:] == [f"warning: to/k-003.csv {old}"]
    done = run("split", "k.csv", "--by", "p", "-o", "to", "-q", folder=tmp_path)
    old = "were not written by this run, and may hold links of an earlier split: remove them, or use an empty folder"
    assert done.stderr == f"warning: to/k-001.csv, to/k-002.csv, to/k-003.csv {old}\n"
    done = run("split", "k.csv", "-n", "9", "-o", "to", folder=tmp_path)
    assert done.stderr.count("warning: to/k-x.csv, to/k-y.csv were not") == 1
    split(tmp_path, "k.csv", "-n", "9", "-o", "many")
    said = run("split", "k.csv", "-n", "1", "-o", "many", folder=tmp_path).stderr
    assert "warning: many/k-002.csv, many/k-003.csv, many/k-004.csv and 5 more files were not" in said


@pytest.mark.parametrize("name", ["k.jsonl", "k.json", "k.jsonl.gz", "k.csv.gz", "k.dat"])
def test_formats_stay_as_they_are(tmp_path: Path, name: str) -> None:
    rows = [{"bucket": "bkt", "key": f"{n}", "size": n, "tags": ["x", n]} for n in range(10)]
    if "csv" in name or "dat" in name:
        text = "bucket,key,size,tags\n" + "".join(f'bkt,{n},{n},"[""x"",{n}]"\n' for n in range(10))
    else:
        text = json.dumps(rows) if name == "k.json" else "\n".join(map(json.dumps, rows))
    data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(data)
    split(tmp_path, name, "-n", "2", "-o", "to")
    expected = name.replace("k.", "k-002.") if name != "k.dat" else "k-002.dat"
    written = (tmp_path / "to" / expected).read_bytes()
    text = (gzip.decompress(written) if name.endswith(".gz") else written).decode()
    if "json" in name:
        found = json.loads(text) if name == "k.json" else [json.loads(line) for line in text.splitlines()]
        assert all(row == rows[row["size"]] for row in found)
    else:
        assert text.startswith("bucket,key,size,tags\nbkt,2,2,")
    assert run("sign", f"to/{expected}", "-q", folder=tmp_path).returncode == 0


def test_a_text_stays_a_text(tmp_path: Path) -> None:
    (tmp_path / "k.txt").write_text("a b\ns3://bkt/k//l\nc\n")
    split(tmp_path, "k.txt", "-n", "1", "-o", "to")
    assert (tmp_path / "to" / "k-001.txt").read_text() == "a b\ns3://bkt/k//l\nc\n"


def test_standard_input_and_filters(tmp_path: Path) -> None:
    given = "bucket,key,size\n" + "".join(f"bkt,{n},{n}\n" for n in range(10))
    split(tmp_path, "-", "-n", "2", "--min-size", "6", given=given)
    assert [row["key"] for row in rows_of(tmp_path / "rows-001.csv")] == ["6", "8"]
    assert [row["key"] for row in rows_of(tmp_path / "rows-002.csv")] == ["7", "9"]
    assert sum(int(row["objects"]) for row in split(tmp_path, "-", "-n", "2", "--sample", "3", given=given)) == 3


def test_the_rows_of_an_upload_stay_together(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for upload in range(40):
        part = {"bucket": "bkt", "key": f"{upload}", "method": "PUT", "size": 5, "upload_id": f"u{upload}"}
        for number in range(1, 31):
            url = f"https://h/{upload}?partNumber={number}&uploadId=u{upload}"
            rows.append(part | {"url": url, "part_number": number, "offset": 5 * number - 5})
        rows.append(part | {"method": "POST", "size": 150, "url": f"https://h/{upload}?uploadId=u{upload}"})
    table(tmp_path / "u.csv", rows)
    printed = split(tmp_path, "u.csv", "-n", "3", "-o", "to")
    assert [(row["objects"], row["bytes"]) for row in printed] == [("14", "2100"), ("13", "1950"), ("13", "1950")]
    for row in printed:
        (tmp_path / "from").mkdir(exist_ok=True)
        done = run("put", row["file"], "--from", "from", "--dry-run", folder=tmp_path)  # refuses a part of an upload
        assert (done.returncode, f"put: {row['objects']} to do" in done.stderr) == (0, True), done.stderr


def test_rows_that_are_not_valid_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("bucket,key,size\n" + "bkt,a,1\n" * 5000 + "bkt,a,x\n")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "k-001.csv").write_text("before")
    said = refused(tmp_path, "k.csv", "-n", "2", "-o", "to")
    assert said == "error: k.csv:5002: column size: 'x' is not a number of bytes"
    assert names_in(tmp_path / "to") == ["k-001.csv"]
    assert (tmp_path / "to" / "k-001.csv").read_text() == "before"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("k.csv",), "give either a number of parts (-n) or a column (--by)"),
        (("k.csv", "-n", "2", "--by", "key"), "give either a number of parts (-n) or a column (--by)"),
        (("k.csv", "-n", "1001"), "1,001 parts are not 1 to 1,000"),
        (("k.csv", "--by", "partner"), "k.csv:2: column partner: the column is missing; there are bucket, key"),
        (("s3://bkt/p/", "-n", "2"), "s3://bkt/p/ is not a table"),
        (("none.csv", "-n", "2"), "none.csv: no such file"),
    ],
)
def test_refused(tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    (tmp_path / "k.csv").write_text("bucket,key\nbkt,a\n")
    assert problem in refused(tmp_path, *words)


def test_too_many_values(tmp_path: Path) -> None:
    table(tmp_path / "k.csv", [{"bucket": "bkt", "key": f"{n}"} for n in range(MOST_PARTS + 1)])
    said = refused(tmp_path, "k.csv", "--by", "key")
    assert said == "error: k.csv:1002: column key: over 1,000 values: split writes so many manifests at most"
