"""Ratios, spreads and goals are computed as the table says."""

import pytest

from benchmarks import comparison, get, growth, nginx
from benchmarks.growth import Point
from benchmarks.measuring import Cost
from benchmarks.transfer_table import CPU, WALL, Goal, Result, show_goals, show_result
from benchmarks.transfers import BY_MD5, CURL, Work

WORK = Work("GET", 4096, 1000)


def costs(*seconds: float) -> list[Cost]:
    """Rounds with these CPU seconds, and twice the wall time."""
    return [Cost(each, 2 * each, 50) for each in seconds]


RESULT = Result(WORK, "nginx, http", {BY_MD5: costs(0.12, 0.3, 0.22), CURL: costs(0.1, 0.1, 0.2)})


def test_the_ratio_is_the_median_of_the_ratios_of_rounds() -> None:
    assert RESULT.ratio(BY_MD5, CPU) == pytest.approx(1.2)
    assert RESULT.ratio(CURL, WALL) == 1


def test_a_row_has_best_median_spread_and_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    show_result(RESULT)
    *_, row = capsys.readouterr().out.splitlines()
    assert row.split()[3:] == ["120.0", "220.0", "82%", "1.20", "240.0", "440.0", "82%", "1.20"]


def test_goals_are_reached_or_missed(capsys: pytest.CaptureFixture[str]) -> None:
    goals = [Goal(["nginx, http"], 4096, most, [BY_MD5]) for most in (1.21, 1.19)]
    show_goals([*goals, Goal(["nginx, https"], 4096, 1), Goal(["nginx, http"], 1, 1)], [RESULT])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["reached", "MISSED"]


def test_without_curl_no_goal_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result(WORK, "nginx, http", {BY_MD5: costs(0.1)})
    show_result(result)
    show_goals([Goal(["nginx, http"], 4096, 1, [BY_MD5])], [result])
    assert "  unknown  GET 1,000 x 4 KiB, nginx, http, ours by md5" in capsys.readouterr().out


def test_growth_compares_the_two_largest_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    points = [Point("get", count, Cost(count * each, 1, memory)) for count, each, memory in GROWN]
    growth.show(points)
    output = capsys.readouterr().out
    assert "reached  get, 100,000 objects against 10,000: time of each: 1.00" in output
    assert "MISSED   get, 100,000 objects against 10,000: peak memory: 2.00" in output


GROWN = [(1_000, 2e-4, 10), (10_000, 1e-4, 50), (100_000, 1e-4, 100)]


def test_a_missing_nginx_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx, "_PATH", "")
    assert nginx.missing() == "nginx is missing, openssl is missing: apt-get install nginx-light openssl"


def test_a_plot_without_matplotlib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match=r"--plot needs matplotlib: pip install 'bulkpresign\[bench\]'"):
        get.main(quick=True, arguments=["--plot", "x.svg"])
