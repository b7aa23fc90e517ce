"""What users and venues get wrong: one clear line, the documented exit code, nothing half-written, and the next run goes on."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from aiohttp import web
from workspace import Gate, Workspace, at, taken_port, words

from quantalpha import config, market
from quantalpha.errors import ExchangeError
from quantalpha.market.exchange import Retry
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice.tape import Tape
from quantalpha.schema import REQUIRED

SYNTHETIC = config.Synthetic(seed=11, start="2021-01-01", bars=2400, timeframe="1h", edge={"BTCUSDT": 0.0})
NOW = pd.Timestamp("2021-04-05", tz="UTC")
SPAN = {"data.symbols": ["BTCUSDT"], "data.start": "2021-01-01", "data.end": "2021-04-01"}


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory) -> Workspace:
    """For commands that fail before they write anything."""
    return Workspace(tmp_path_factory.mktemp("untouched"))


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    """A hundred days of hours with a gap."""
    return synthetic_bars("BTCUSDT", SYNTHETIC)[list(REQUIRED)]


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic(SYNTHETIC)


# Files: what cannot be read is refused, what can is imported and judged by the clean stage.


def truncated(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def parquet(change):
    """A file of the frame after `change`."""

    def write(frame: pd.DataFrame, path: Path) -> Path:
        change(frame).to_parquet(path)
        return path

    return write


def csv(change):
    def write(frame: pd.DataFrame, path: Path) -> Path:
        change(frame).to_csv(path.with_suffix(".csv"))
        return path.with_suffix(".csv")

    return write


UNREADABLE = {
    "truncated parquet": (truncated, "truncated or damaged"),
    "not a parquet file": (lambda frame, path: path.write_text("hello") and path, "truncated or damaged"),
    "another time zone": (parquet(lambda frame: frame.tz_convert("Europe/Berlin")), "expected UTC; pass --timezone"),
    "off the grid": (parquet(lambda frame: frame.set_axis(frame.index + pd.Timedelta("7min"))), "do not open on a whole 1h"),
    "another timeframe": (parquet(lambda frame: frame.iloc[::4]), "240 minutes apart, expected 60"),
    "no volume": (parquet(lambda frame: frame.drop(columns="volume")), "missing column(s) volume"),
    "no times": (parquet(lambda frame: frame.reset_index(drop=True)), "missing column(s) timestamp"),
    "no rows": (parquet(lambda frame: frame.iloc[:0]), "holds no rows"),
    "text for a price": (csv(lambda frame: frame.assign(close=["dear", *frame["close"][1:]])), "row 1: expected a number, found 'dear'"),
    "times that are none": (
        csv(lambda frame: frame.set_axis(pd.Index(["noon"] * len(frame), name="timestamp"))),
        "cannot be read as times",
    ),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_a_file_that_cannot_be_read_is_refused_and_leaves_no_trace(workspace, bars, tmp_path, fault):
    write, says = UNREADABLE[fault]
    file = write(bars, tmp_path / "bars.parquet")
    answer = workspace.call("import", str(file), "--symbol", "BTCUSDT", "--timeframe", "1h")
    answer.complains(4, file.name, says)
    assert workspace.files() == []


def spoiled(bars: pd.DataFrame) -> pd.DataFrame:
    """Two NaN prices, a high below the low, three bars twice, and the first two hours swapped."""
    frame = bars.copy()
    frame.iloc[10, frame.columns.get_loc("close")] = np.nan
    frame.iloc[20, frame.columns.get_loc("open")] = np.nan
    frame.iloc[30, frame.columns.get_loc("high")] = frame["low"].iloc[30] / 2
    frame = pd.concat([frame, frame.iloc[40:43]])
    return frame.iloc[[1, 0, *range(2, len(frame))]]


def test_faulty_bars_are_imported_counted_and_dropped_by_the_clean_stage(workspace, bars, tmp_path):
    file = tmp_path / "spoiled.parquet"
    spoiled(bars).to_parquet(file)
    answer = workspace.call("import", str(file), "--symbol", "BTCUSDT", "--timeframe", "1h", "--json")
    assert answer.code == 0, answer.err
    (found,) = answer.json
    assert (found["rows"], found["impossible"], found["duplicates"]) == (len(bars) + 3, 3, 3) and found["out_of_order"] >= 2

    settings = words(SPAN | {"venue.name": "import"})
    answer = workspace.call("pipeline", "run", "--only", "clean", "--json", *settings)
    assert answer.code == 0, answer.err
    report = json.loads((workspace.root / "data/clean/BTCUSDT.json").read_text())
    inside = bars[bars.index < "2021-04-01"]
    assert (report["rows_in"], report["rows_out"]) == (len(inside) + 3, len(inside) - 3)
    assert report["duplicates"]["count"] == 3 and report["impossible"]["count"] == 3
    clean = pd.read_parquet(workspace.root / "data/clean/BTCUSDT.parquet")
    assert clean.index.is_monotonic_increasing and clean.index.is_unique
    pd.testing.assert_frame_equal(clean[list(REQUIRED)], inside.drop(inside.index[[10, 20, 30]]), check_freq=False)


def test_a_missing_month_is_named_before_anything_is_computed(workspace, bars, tmp_path):
    file = tmp_path / "holes.parquet"
    bars[bars.index.strftime("%Y-%m") != "2021-02"].to_parquet(file)
    assert workspace.call("import", str(file), "--symbol", "BTCUSDT", "--timeframe", "1h").code == 0
    before = workspace.files("data/raw")
    answer = workspace.call("pipeline", "run", "--json", *words(SPAN | {"venue.name": "import"}))
    answer.complains(4, "stage download-BTCUSDT", "DataError", "1 are missing, first 2021-02", "quantalpha import FILE")
    assert answer.json["exit_code"] == 4
    assert workspace.files("data/raw") == before and workspace.leftovers() == []
    rows = {row["id"]: row for row in workspace.call("pipeline", "status", "--json", *words(SPAN | {"venue.name": "import"})).json}
    assert rows["download-BTCUSDT"]["status"] == "failed" and "2021-02" in rows["download-BTCUSDT"]["reason"]
    assert rows["clean-BTCUSDT"]["status"] == "never run"


# Words: what is typed wrongly is named, with the nearest right name, before anything runs.

WRONG_WORDS = {
    "unknown key": ("pipeline run --set labels.horizn=12", "labels.horizn", "did you mean 'horizon'?"),
    "unknown section": ("pipeline run --set lables.horizon=12", "did you mean 'labels'?"),
    "wrong type": ("pipeline run --set labels.horizon=soon", "labels.horizon", "expected a valid integer", "'soon'"),
    "no value": ("pipeline status --set labels.horizon", "expected section.key=value"),
    "start after end": ("pipeline run --set data.start=2024-02-01 --set data.end=2024-01-01", "data", "must lie before end"),
    "unknown profile": ("pipeline run --profile dmeo", "profile", "did you mean 'demo'?"),
    "unknown model": ("pipeline run --set models.names=[lightgmb]", "models.names", "lightgbm"),
    "unknown feature": ("pipeline run --set features.rsy=[14]", "rsy", "did you mean 'rsi'?"),
    "exit above enter": ("pipeline run --set policy.exit=0.9", "policy", "must not exceed enter"),
    "unknown pipeline": ("pipeline run reserch", "did you mean 'research'?"),
    "unknown stage": ("pipeline run --only trian", "did you mean 'train'?"),
    "no cron": ("pipeline schedule --cron hourly", "hourly"),
    "unknown symbol form": ("import x.csv --symbol btc/usdt --timeframe 1h", "--symbol", "BTCUSDT"),
    "unknown timeframe": ("import x.csv --symbol BTCUSDT --timeframe 1hour", "1hour"),
    "no file to import": ("import x.csv --symbol BTCUSDT --timeframe 1h", "x.csv: no such file"),
    "no tape": ("exchange --tape tape.parquet", "exchange.tape", "tape.parquet"),
    "off the tape": ("exchange --port 0 --set synthetic.bars=1000 --now 2030-01-01", "exchange.now", "a time on the tape"),
    "no such moment": ("exchange --now yesterday", "exchange.now", "'yesterday'"),
    "demo at two addresses": ("demo --set exchange.port=1234", "exchange.port", "venue.rest_url"),
    "unknown mode": ("run --mode lived", "--mode", "'lived'", "did you mean 'live'"),
    "live without capital": ("run --mode live", "--capital is missing"),
    "live with no capital": ("run --mode live --capital nan", "--capital", "above 0"),
    "live on the practice exchange": (
        "run --mode live --capital 100 --profile demo",
        "--mode live",
        "venue.rest_url is http://127.0.0.1:8899",
    ),
    "testnet on the practice exchange": ("run --mode testnet --profile demo", "--mode testnet", "venue.rest_url is http://127.0.0.1:8899"),
    "a rehearsal at the real venue": ("run --mode rehearse", "--mode rehearse", "--profile demo"),
    "a drill on paper": ("run --drill", "--drill", "goes with --mode rehearse", "found --mode paper"),
    "a word for live on paper": ("run --confirm yes", "--confirm", "goes with --mode live"),
    "adopting on paper": ("run --adopt", "--adopt", "goes with --mode rehearse or testnet or live"),
    "going on with a replay": ("run --mode replay --bars x.parquet --resume", "--resume", "found --mode replay"),
    "pre-live without capital above 0": ("prelive --capital 0", "--capital", "above 0"),
    "replay of nothing": ("run --mode replay", "--bars"),
    "bars for paper": ("run --bars data/clean/BTCUSDT.parquet", "--bars"),
    "replay of a missing file": ("run --mode replay --bars nowhere.parquet", "nowhere.parquet", "no such file"),
    "nothing promoted": ("run", "no bundle has alias paper", "quantalpha promote latest"),
    "unknown registered model": ("run --model SOLUSDT-1h", "SOLUSDT-1h"),
    "no run yet": ("promote latest", "no run is logged yet"),
    "unknown run": ("promote nowhere", "'nowhere'", "not found"),
    "unknown alias": ("promote latest --to moon", "--to", "expected paper or live"),
    "no session yet": ("reconcile", "no session has run yet"),
    "unknown session": ("reconcile tuesday", "'tuesday'"),
}


@pytest.mark.parametrize("mistake", WRONG_WORDS)
def test_a_wrong_word_is_named_with_the_right_one(untouched, mistake):
    command, *says = WRONG_WORDS[mistake]
    untouched.call(*command.split()).complains(2, *says)
    assert untouched.files() == []


@pytest.mark.parametrize(
    ("text", "says"),
    [("horizn: 24", "did you mean 'horizon'?"), ("horizon: [24", "cannot be read"), ("horizon: -1", "labels.horizon")],
)
def test_a_typo_in_the_parameter_file_is_one_line(workspace, text, says):
    file = workspace.root / "params.yaml"
    file.write_text(file.read_text().replace("horizon: 24", text))
    workspace.call("pipeline", "run").complains(2, "params.yaml", says)
    assert workspace.files() == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('labels: str = "', 'lables: str = "', "no 'labels', which stage labels passes; did you mean 'lables'?"),
        ('symbol: str = "', 'symbol: int = "', "'symbol' is declared int, but stage labels passes str"),
    ],
)
def test_a_mistyped_notebook_parameter_fails_before_any_kernel_starts(workspace, monkeypatch, old, new, says):
    notebook = workspace.root / "notebooks/04_labels.ipynb"
    content = json.loads(notebook.read_text())
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"]).replace(old, new)
    notebook.write_text(json.dumps(content))
    monkeypatch.setattr("quantalpha.pipeline.driver.submit", lambda *_: pytest.fail("a kernel was started"))
    workspace.call("pipeline", "run").complains(2, "notebooks/04_labels.ipynb", says)
    assert workspace.files() == []


def test_a_damaged_file_of_clean_bars_is_not_replayed(untouched, bars, tmp_path):
    replay = ("run", "--mode", "replay", "--bars")
    untouched.call(*replay, str(truncated(bars, tmp_path / "cut.parquet"))).complains(4, "cut.parquet", "truncated or damaged")
    spoiled(bars).to_parquet(tmp_path / "raw.parquet")
    untouched.call(*replay, str(tmp_path / "raw.parquet")).complains(4, "raw.parquet", "time order")
    pd.DataFrame({"x": [1.0]}).to_parquet(tmp_path / "other.parquet")
    untouched.call(*replay, str(tmp_path / "other.parquet")).complains(4, "other.parquet", "UTC DatetimeIndex")
    assert untouched.files() == []


# Ports: one that is taken is named, and nothing is left running or written.


@pytest.mark.parametrize("command", ["exchange --set synthetic.bars=1000 --set exchange.now=2021-01-20", "ui"])
def test_a_taken_port_is_named(untouched, command):
    with taken_port() as port:
        untouched.call(*command.split(), "--port", str(port)).complains(2, f"127.0.0.1:{port}", "choose another")


def test_the_demo_ends_at_once_where_its_port_is_taken(untouched):
    with taken_port() as port:
        settings = {"exchange.port": port, "synthetic.bars": 1000, "exchange.now": "2021-01-20"} | at(f"http://127.0.0.1:{port}")
        untouched.call("demo", *words(settings), "--json").complains(
            2, "practice exchange", f"exchange.port: 127.0.0.1:{port} is already in use"
        )
    assert untouched.files() == []


# Venues: whatever one answers, whole months are kept, and the next run asks only for the rest.


def replies(text: str, status: int = 200, **headers: str):
    async def fault(_):
        return web.Response(text=text, status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return fault


async def hangs(_):
    await asyncio.sleep(60)


VENUE_FAULTS = {
    "429": (replies('{"code":-1003,"msg":"Too many requests"}', 429, Retry_After="1"), "HTTP 429"),
    "418": (replies('{"code":-1003,"msg":"banned"}', 418, Retry_After="3600"), "left alone for 3600 s"),
    "500": (replies("oops", 500), "HTTP 500"),
    "garbage": (replies("<html>back soon</html>"), "not JSON"),
    "another shape": (replies('{"ok":true}'), "no list"),
    "nothing": (replies(""), "not JSON"),
    "hangs": (hangs, "RequestTimeout"),
}


def after_january(fault):
    """The venue is sound until a request for bars that begin after January."""

    async def only_late(request: web.Request):
        late = int(request.query["startTime"]) > 1_612_137_600_000 if request.path.endswith("/klines") else False
        return await fault(request) if late else None

    return only_late


@pytest.mark.parametrize("fault", VENUE_FAULTS)
def test_a_venue_that_fails_half_way_costs_only_the_months_it_did_not_give(tape, tmp_path, fault, monkeypatch):
    async def at_once(_):
        pass

    answer, says = VENUE_FAULTS[fault]
    data = config.Data(symbols=["BTCUSDT"], timeframe="1h", start="2021-01-01", end="2021-04-01", kinds=["bars", "mark", "funding"])
    with Gate(tape, int(NOW.timestamp() * 1000)) as gate:
        venue = config.Venue(
            name="binanceusdm", source="practice", rest_url=gate.url, ws_url=gate.url.replace("http", "ws"), timeout=0.5, budget=0.8
        )

        def fetch(folder: Path) -> dict:
            asyncio.run(market.download_symbols(venue, data, market.Lake(folder), retry=Retry(attempts=3, sleep=at_once)))
            return market.Lake(folder).manifest("practice", "BTCUSDT", ["1h", "mark-1h", "funding"])

        gate.fault = after_january(answer)
        with pytest.raises(ExchangeError, match=says) as caught:
            fetch(tmp_path / "disturbed")
        assert gate.url.removeprefix("http://") in str(caught.value) and "\n" not in str(caught.value)
        lake = market.Lake(tmp_path / "disturbed")
        assert lake.stored("practice", "BTCUSDT", "1h") == ["2021-01"]
        held = [path for path in lake.root.rglob("*") if path.is_file()]
        assert {path.suffix for path in held} == {".parquet", ".json"} and not any(path.name.startswith(".") for path in held)
        gate.fault = None
        monkeypatch.setenv("QUANTALPHA_CACHE", str(tmp_path / "later"))  # any ban is over
        assert fetch(tmp_path / "disturbed") == fetch(tmp_path / "undisturbed")


def test_a_pipeline_whose_venue_fails_exits_5_and_goes_on_once_the_venue_is_well(workspace, tape):
    with Gate(tape, int(NOW.timestamp() * 1000)) as gate:
        settings = words(SPAN | {"venue.source": "practice"} | at(gate.url))
        command = ("pipeline", "run", "--profile", "demo", "--only", "download", "--json", *settings)
        gate.fault = after_january(replies("oops", 500, Retry_After="0"))
        answer = workspace.call(*command)
        answer.complains(5, "stage download-BTCUSDT", "HTTP 500", "after 6 tries", "failed/download-BTCUSDT.ipynb")
        assert answer.json["exit_code"] == 5 and answer.json["error"] == "StageFailed"
        names = workspace.files()
        assert "data/raw/practice/BTCUSDT/1h/2021-01.parquet" in names and "data/pipeline/research/failed/download-BTCUSDT.ipynb" in names
        assert not [name for name in names if "2021-02.parquet" in name and "/1h/" in name]
        assert "data/raw/BTCUSDT.manifest.json" not in names and workspace.leftovers() == []

        gate.fault = None
        answer = workspace.call(*command)
        assert answer.code == 0, answer.err
        assert [row["status"] for row in answer.json["stages"]] == ["done"]
        assert "data/raw/BTCUSDT.manifest.json" in workspace.files() and workspace.leftovers() == []
        assert not (workspace.root / "data/pipeline/research/failed/download-BTCUSDT.ipynb").exists()


def cell(source: str, *tags: str) -> dict:
    return {
        "cell_type": "code",
        "id": str(len(source)),
        "metadata": {"tags": tags},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def test_a_group_of_errors_in_a_notebook_is_told_too(workspace):
    failing = cell("raise ExceptionGroup('both failed', [ValueError('left is odd'), ValueError('right is even')])")
    content = {"cells": [cell("made: str = ''", "parameters"), failing], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (workspace.root / "notebooks/grouped.ipynb").write_text(json.dumps(content))
    (workspace.root / "pipelines/grouped.yaml").write_text('stages: {grouped: {notebook: grouped, outputs: {made: "data/made.txt"}}}')
    answer = workspace.call("pipeline", "run", "grouped", "--json")
    answer.complains(1, "stage grouped, code cell 2", "right is even", "failed/grouped.ipynb")
