"""`quantalpha data export`: what it prints, how it ends, and that no password comes out."""

import re

import numpy as np
import pytest
from workspace import Workspace, free_port

from quantalpha.market import Lake

from .support import NAMES, bars, fill, fresh


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def filled(workspace, series) -> Workspace:
    fill(Lake(workspace.root / "data/raw"), series, bars(1_200))
    return workspace


@pytest.fixture
def at(urls, filled, monkeypatch):
    """Runs the command with the servers' addresses in the environment."""
    for name, url in urls.items():
        monkeypatch.setenv(name, url)
    return lambda *words: filled.call("data", "export", *words)


def test_export_then_check_then_nothing_more_to_send(at, sink_name, series):
    sent = at("--to", sink_name, "--symbol", series.symbol, "--json")
    assert sent.code == 0, sent
    (row,) = sent.json["series"]
    assert (row["rows"], row["written"], row["present"], row["months"]) == (1_200, 1_200, 1_200, 3)
    assert row["seconds"] > 0 and row["rows_per_second"] > 0
    again = at("--to", sink_name, "--json").json["series"][0]
    assert (again["written"], again["removed"]) == (0, 0)
    assert at("--to", sink_name, "--check").out.strip() == f"{sink_name} holds what the lake holds: 3 months agree"
    assert series.symbol in at("--to", sink_name).out


def test_a_difference_is_named_and_ends_with_4(at, sink_name, series, filled):
    assert at("--to", sink_name).code == 0
    rows = bars(1_200)
    rows.iloc[600, 0] = np.nextafter(rows.iloc[600, 0], 1e9)
    fill(Lake(filled.root / "data/raw"), series, rows)
    told = at("--to", sink_name, "--check", "--json")
    assert told.code == 4 and [month["month"] for month in told.json["differ"]] == ["2024-01"]
    at("--to", sink_name, "--check").complains(4, "1 of 3 months differ")
    assert at("--to", sink_name, "--json").json["series"][0]["written"] == 1
    assert at("--to", sink_name, "--check").code == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_address_comes_from_the_environment_alone(filled, name, monkeypatch):
    monkeypatch.delenv(f"QUANTALPHA_{name.upper()}_URL", raising=False)
    filled.call("data", "export", "--to", name).complains(2, f"QUANTALPHA_{name.upper()}_URL", ".env")


@pytest.mark.parametrize("name, scheme", [("postgres", "postgresql"), ("influx", "http"), ("redis", "redis")])
def test_nobody_there_ends_with_5_and_without_the_password(filled, name, scheme, monkeypatch):
    monkeypatch.setenv(f"QUANTALPHA_{name.upper()}_URL", f"{scheme}://user:hunter2-6c1d@127.0.0.1:{free_port()}/0")
    for more in ([], ["--check"], ["--json"]):
        told = filled.call("data", "export", "--to", name, *more)
        assert told.code == 5 and "cannot be reached" in told.err and "hunter2" not in told.out + told.err


@pytest.mark.parametrize(
    "words, code, says",
    [
        (["--to", "postgre"], 2, "did you mean 'postgres'"),
        (["--to", "redis", "--symbol", "NONE"], 2, "--symbol NONE"),
        (["--to", "redis", "--kind", "2h"], 2, "--kind 2h"),
        (["--to", "redis", "--from", "soon"], 2, "--from: expected a time"),
        (["--to", "redis", "--file", "x.lp"], 2, "--to influx"),
        (["--to", "influx", "--file", "-", "--json"], 2, "name a file"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(filled, words, code, says):
    filled.call("data", "export", *words).complains(code, says)


def test_an_empty_lake_is_told(workspace):
    workspace.call("data", "export", "--to", "redis").complains(4, "no month of data")


def test_line_protocol_into_a_file_needs_no_server(filled, series):
    other = fresh("funding")
    fill(Lake(filled.root / "data/raw"), other, bars(10)[["close"]].set_axis(["funding_rate"], axis=1))
    file = filled.root / "bars.lp"
    told = filled.call("data", "export", "--to", "influx", "--file", str(file), "--json")
    lines = file.read_text().splitlines()
    assert told.json == {"file": str(file), "bytes": file.stat().st_size} and len(lines) == 1_210
    values = ",".join(rf"{name}=\S+" for name in ("close", "high", "low", "open", "volume"))
    first = [line for line in lines if line.startswith("bars,")][0]
    assert re.fullmatch(rf"bars,kind=1h,symbol={series.symbol},venue=binanceusdm {values} 1702598400000000000", first)
    assert filled.call("data", "export", "--to", "influx", "--file", "-").out.splitlines() == lines
    only = filled.call("data", "export", "--to", "influx", "--file", "-", "--kind", "funding", "--from", "2023-12-15T04:00").out
    assert len(only.splitlines()) == 6 and all(line.startswith("funding,kind=funding,") for line in only.splitlines())


def test_a_file_that_cannot_be_whole_is_not_there(filled, series):
    rows = bars(1_200)
    rows.iloc[-1, 0] = np.inf
    fill(Lake(filled.root / "data/raw"), series, rows)
    file = filled.root / "bars.lp"
    filled.call("data", "export", "--to", "influx", "--file", str(file)).complains(4, "open is inf")
    assert not list(filled.root.glob("*.lp*")) and not list(filled.root.glob(".*.tmp"))
