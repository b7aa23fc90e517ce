"""The notebooks that stand alone run from top to bottom: quickstart, and research on a small made-up panel."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import UsageError
from quantalpha.validation import trials

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def run(name: str, **parameters) -> dict:
    """The cells' code in one namespace, `parameters` set after the cell that is tagged so; what it leaves there."""
    space = {}
    for cell in json.loads((NOTEBOOKS / name).read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)
            space |= parameters if "parameters" in cell["metadata"].get("tags", []) else {}
    return space


def made_up(symbol: str, seed: int, n: int = 4_900) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.008 * rng.normal(size=n) + 0.0005 * np.sin(np.arange(n) / 300)))
    open_ = np.r_[100.0, close[:-1]]
    index = pd.date_range("2023-01-01", periods=n, freq="h", tz="UTC").as_unit("ms")
    prices = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close, "volume": 1.0}
    return pd.DataFrame({"symbol": symbol, "timestamp": index} | prices)


@pytest.fixture
def panel(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "FILE", str(tmp_path / "trials.db"))
    listed = {"BTCUSDT": slice(None), "ETHUSDT": slice(None), "NEWUSDT": slice(2_000, None)}
    tables = [made_up(symbol, seed).iloc[rows] for seed, (symbol, rows) in enumerate(listed.items())]
    path = tmp_path / "panel.parquet"
    pd.concat(tables).to_parquet(path)
    return path


def test_the_quickstart_draws_and_proves_what_it_says():
    left = run("00_quickstart.ipynb")
    assert len(left["table"]) == len(left["bars"]) and left["cross"].metrics()["total_return"] < 0  # as its text says
    with pytest.raises(UsageError, match="pass validation.rank_correlation"):
        left["plots"].feature_correlation(left["table"])


def test_trend_on_many_markets(panel, tmp_path):
    left = run("research/trend_on_33_markets.ipynb", file=str(panel), train=4_000, test=400, budget=4)
    assert len(left["walk"].folds) == 2 and len(left["walk"].result.fills) > 0
    assert (tmp_path / "trials.db").is_file()  # every set it tried was counted
    assert left["walk"].result.account.initial_cash == 100_000.0


def test_meta_labelling_finds_out_when_the_rule_works():
    left = run("research/meta_labelling.ipynb", edge=0.05, length=12_000, train=6_000, test=2_000)
    summary = left["summary"]
    assert len(left["walk"].folds) == 2 and (summary["bets"] > 50).all()
    assert summary.loc["taken", "precision"] > summary.loc["all", "precision"]


def test_without_its_file_a_notebook_says_what_it_wants(tmp_path):
    with pytest.raises(UsageError, match="panel: no file .*absent.parquet; name a parquet file of bars with the columns symbol, timestamp"):
        run("research/trend_on_33_markets.ipynb", file=str(tmp_path / "absent.parquet"))


@pytest.fixture
def recording(tmp_path):
    """Twenty-five minutes of quotes whose mid follows the queues, and of trades that follow nothing."""
    from quantalpha import config
    from quantalpha.market.ticks import Quote, Recorder, Trade

    rng, mid, recorder = np.random.default_rng(1), 1_000, Recorder(tmp_path, ("BTCUSDT",), config.load("demo").stream)
    for n in range(15_000):
        bid_qty, ask_qty = rng.uniform(1, 9, 2)
        mid += int(bid_qty > ask_qty + 4) - int(ask_qty > bid_qty + 4)
        time = 1_700_000_000_000 + 100 * n
        recorder.add(n, Quote("BTCUSDT", time, time, n, mid - 0.5, bid_qty, mid + 0.5, ask_qty))
        recorder.add(n, Trade("BTCUSDT", time, time, n, mid + 0.5, 1.0, int(rng.choice([-1, 1]))))
    recorder.close()
    return tmp_path


def test_order_flow_of_a_recording(recording):
    left = run("research/order_flow.ipynb", folder=str(recording))
    assert left["table"].loc[("BTCUSDT", 10.0), "t_flow"] > 4 > abs(left["table"].loc[("BTCUSDT", 10.0), "t_trades"])
    assert left["paid"].loc["BTCUSDT", "quoted_spread"] == 1.0 or left["captures"]["BTCUSDT"].tick == 0.5


@pytest.mark.real
def test_order_flow_of_the_captures(shared_data):
    table = run("research/order_flow.ipynb", folder=str(shared_data))["table"]
    assert len(table) == 14 and (table["t_flow"] > 4).all()
    assert 0.5 < table.xs(10.0, level="seconds")["r2_flow"].mean() < 0.8


def test_order_flow_without_captures_says_what_it_wants(tmp_path):
    with pytest.raises(
        UsageError, match="captures: .* holds neither a recording of book and trades nor lob_binance.*quantalpha data record"
    ):
        run("research/order_flow.ipynb", folder=str(tmp_path))
