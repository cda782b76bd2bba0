"""Unusual surroundings: a working directory that was deleted, a full disk for the messages, a missing extra."""

import subprocess
from pathlib import Path

import pytest

from bulkpresign.cli.demo import demo
from bulkpresign.demo import daemon
from tests.support.cli import BULKPRESIGN, CREDENTIALS
from tests.support.cli import run as run_in

_DELETED = "error: the working directory was deleted: change to another one\n"


@pytest.mark.parametrize("command", ["get {0}/links.csv --to to", "report ."])
def test_a_deleted_working_directory_is_named(command: str, tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text("url\nhttp://127.0.0.1:9/a\n")
    done = in_deleted_folder(command.format(tmp_path), tmp_path)
    assert (done.returncode, done.stderr) == (2, _DELETED)


def test_absolute_names_need_no_working_directory(tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("bucket,key\nbucket,a\n")
    done = in_deleted_folder(f"sign {tmp_path}/keys.csv -o {tmp_path}/links.csv", tmp_path)
    assert (done.returncode, done.stderr) == (0, f"sign: 1 link in {tmp_path}/links.csv\n")


def test_a_usage_error_has_its_exit_code_where_it_can_not_be_printed(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*BULKPRESIGN, "get", "--to"], cwd=tmp_path, stderr=full, check=False)
    assert done.returncode == 2
    assert run_in("get", "--to", folder=tmp_path).returncode == 2


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["get", "--help"]])
def test_help_on_a_full_disk(words: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*BULKPRESIGN, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "error: standard output can't be written: No space left on device\n"
    assert done.returncode == 2


def test_the_home_folder_is_found_where_the_shell_leaves_it_alone(tmp_path: Path) -> None:
    """As in `--to=~/data`, in quotes, and in the files of cron and systemd. A folder `~` would be made else."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "keys.csv").write_text("bucket,key\nbucket,a\n")
    done = run_in("sign", "~/keys.csv", "--output=~/links.csv", folder=tmp_path, env={**CREDENTIALS, "HOME": str(home)})
    assert (done.returncode, done.stderr) == (0, f"sign: 1 link in {home}/links.csv\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]
    done = run_in("sign", "./~/keys.csv", folder=tmp_path, env={**CREDENTIALS, "HOME": str(home)})
    assert done.stderr == "error: ./~/keys.csv: no such file\n"


@pytest.mark.parametrize("option", ["--journal", "--to", "--ca-bundle"])
def test_no_file_is_named_as_a_stream(option: str, tmp_path: Path) -> None:
    """Options that need a file or a folder refuse `-`. It would make one named `-`."""
    (tmp_path / "links.txt").write_text("https://bucket.example.org/key\n")
    done = run_in("get", "links.txt", "--to=data", f"{option}=-", folder=tmp_path)
    assert done.returncode == 2, done
    assert f"Invalid value for '{option}': - is no standard stream here; a file of this name is ./-" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["links.txt"]


def test_failures_can_be_written_to_standard_output(tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("bucket,key\nbucket,k\n")
    (tmp_path / "data").mkdir()
    done = run_in("verify", "keys.csv", "--in", "data", "--failures", "-", folder=tmp_path)
    header, row = done.stdout.splitlines()
    assert header.startswith("bucket,key,")
    assert row.endswith(",k,FileMissing: there is no such file")
    assert done.returncode == 1


def in_deleted_folder(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    script = f"mkdir gone && cd gone && rmdir ../gone && exec {' '.join(BULKPRESIGN)} {command}"
    return subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env={**CREDENTIALS, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_names_the_extra_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon, "files", lambda _: [])
    assert demo.main([], standalone_mode=False) == 2
    assert capsys.readouterr().err == "error: weed is missing: pip install 'bulkpresign[demo]'\n"
