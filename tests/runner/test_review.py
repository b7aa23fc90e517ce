"""A session looked back on: by the command line's one sentence, against the venue's bars of today, and in notebook 11."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from quantalpha import config, review
from quantalpha.errors import ExchangeError, UsageError
from quantalpha.features import fingerprint
from quantalpha.market import Client, stream
from quantalpha.market.connect import Retry
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.runner import Request, journal, run_replay, run_session
from quantalpha.runner.events import FillEvent, InstructionEvent, OrderEvent, RejectedOrderEvent, SignalEvent, SwitchEvent
from quantalpha.runner.review import review as frames

NOTEBOOK = Path(__file__).parents[2] / "notebooks/11_paper_review.ipynb"
STAMP = {"event_time": 0, "recv_time": 0, "symbol": "BTCUSDT"}


@pytest.fixture
def replayed(trained, tape_settings, sessions):
    """(folder of a replayed session, its bars)."""
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic).iloc[:300]
    run_replay(trained, tape_settings, bars, Request(name="s", sessions=sessions))
    return sessions / "s", bars


def test_an_honest_session_in_one_line(replayed):
    folder, bars = replayed
    found = review.review(folder, bars)
    assert found.report.agrees and found.attribution.agrees and found.attribution.asked
    assert "+0.00, no cause moved any money" in found.verdict and "above 0.8 (met)" in found.verdict
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["session"] == "s" and told["agrees"] and [part["cause"] for part in told["attribution"]["parts"]][-1] == "unexplained"


def test_a_candle_revised_since_is_asked_for_and_named(replayed, tmp_path):
    folder, bars = replayed
    revised = bars.copy()
    revised.iloc[-1, bars.columns.get_indexer(["close", "high", "mark"])] *= 1.02
    revised.to_parquet(tmp_path / "now.parquet")
    found = review.review(folder, review.bars_today(folder, str(tmp_path / "now.parquet")))
    assert found.report.agrees and len(found.report.revised) == 3  # it did what its bars said; the bars are others now
    part = found.attribution.parts[0]
    assert part.cause == "data revision" and part.touched == 1 and "recorded" in part.first["what"]
    assert review.bars_today(folder, "") is None and "not looked for" in review.review(folder).verdict
    with pytest.raises(UsageError, match="no such file"):
        review.bars_today(folder, "nowhere.parquet")


def test_the_venue_tells_a_sessions_bars_again(exchange, trained, sessions, monkeypatch):
    calm = {"switches": exchange.settings.switches.model_copy(update={"volatility": 1e6})}
    settings = exchange.settings.model_copy(update={"runner": exchange.settings.runner.model_copy(update={"bars": 12})} | calm)
    run_session(trained, settings, Request("paper", "s", sessions=sessions))
    now = review.bars_today(sessions / "s", "venue")
    found = review.review(sessions / "s", now)
    assert len(now) == len(found.recorded.bars) and found.report.revised == []
    assert [part.touched for part in found.attribution.parts[:2]] == [0, 0] and found.orders["delay"].isna().all()
    exchange.close()
    monkeypatch.setattr(stream, "Client", lambda venue: Client(venue, Retry(attempts=1)))
    with pytest.raises(ExchangeError):
        review.bars_today(sessions / "s", "venue")


def test_the_journal_names_the_features_each_decision_was_made_on(replayed, trained):
    folder, bars = replayed
    table = trained.features.compute(bars)
    signals = [event for event in journal.read(folder / journal.FILE) if isinstance(event, SignalEvent)]
    lookback = trained.features.lookback
    assert {signal.features for signal in signals[: lookback - 1]} == {""}
    assert [signal.features for signal in signals[lookback - 1 :]] == [fingerprint(row) for row in table.to_numpy()[lookback - 1 :]]


def test_children_of_an_order_are_told_as_one():
    order = OrderEvent(**STAMP, bar=0, client_id="a", quantity=2.0, target=1.0, price=10.0)
    vetoed = replace(order, bar=60, client_id="b")
    child = {"parent": "a", "action": "place", "kind": "market", "quantity": 1.0, "price": None, "reduce_only": False}
    first, second = (
        InstructionEvent(**STAMP | {"recv_time": 70 + k}, bar=60, client_id=f"a{k}", reference=10.0 + k, **child) for k in (0, 1)
    )
    fill = {"quantity": 1.0, "fee": 0.1, "realised": 0.0, "reason": "order"}
    fills = [FillEvent(**STAMP, bar=60 * (k + 1), client_id=f"a{k}", price=11.0 + 2 * k, **fill) for k in (0, 1)]
    stop = FillEvent(**STAMP, bar=120, client_id="stop-1", price=9.0, **fill | {"quantity": -2.0, "reason": "stop_loss"})
    refusal = RejectedOrderEvent(**vars(vetoed), reason="leverage", values={})
    trip = SwitchEvent(**STAMP, name="drawdown", phase="tripped", reason="21 %")
    told = frames([order, first, fills[0], second, fills[1], vetoed, refusal, stop, trip])
    whole, other = told["orders"].iloc[0], told["orders"].iloc[1]
    assert (whole["filled"], whole["price"], whole["fee"], whole["bar"]) == (2.0, 12.0, 0.2, 60)
    assert (whole["sent"], whole["reference"]) == (70.0, 10.0) and other["refused"] == "leverage" and pd.isna(other["sent"])
    assert told["forced"][["reason", "held"]].values.tolist() == [["stop_loss", 2.0]]
    assert told["switches"]["name"].tolist() == ["drawdown"]


def notebook(folder: Path, monkeypatch) -> dict:
    """What notebook 11 leaves of the session."""
    space = {}
    monkeypatch.setattr(config, "path", lambda text: folder.parent if text == "data/sessions" else Path(text))
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)
    return space


def test_notebook_11_runs(replayed, monkeypatch):
    space = notebook(replayed[0], monkeypatch)
    assert space["found"].session == "s" and len(space["causes"]) == 11 and len(space["basis_points"]) > 3
    assert "of them filled" in space["found"].activity


def test_a_session_that_never_traded_says_so(trained, tape_settings, sessions, monkeypatch):
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic).iloc[:20]
    run_replay(trained, tape_settings, bars, Request(name="s", sessions=sessions))
    found = notebook(sessions / "s", monkeypatch)["found"]
    assert found.activity == "no order was made; kill switches: none" and found.report.agrees
