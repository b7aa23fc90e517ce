"""`quantalpha run --model A --model B`: two bundles in one account on paper, and gone on with."""

from collections import Counter

import pytest
import small_bundle
from workspace import Workspace, words

from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import Tape
from quantalpha.practice.background import played
from quantalpha.runner.events import EquityEvent, SignalEvent
from quantalpha.runner.journal import FILE, read

HOUR = 3_600_000
SYMBOLS = {"a": "BTCUSDT", "b": "ETHUSDT"}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """(workspace, settings, bundles): `a` and `b` are promoted models of two symbols."""
    settings = small_bundle.params("venue.source=practice", "synthetic.bars=1500", "synthetic.edge={BTCUSDT: 0.05, ETHUSDT: 0.05}")
    made = {
        name: small_bundle.build(tmp_path / "bundles", synthetic_bars(symbol, settings.synthetic), settings, symbol=symbol)
        for name, symbol in SYMBOLS.items()
    }
    monkeypatch.setattr("quantalpha.promotion.champion", lambda model, *_: made[model])
    monkeypatch.setattr("quantalpha.tracking.require_model", lambda model: None)
    return Workspace(tmp_path / "workspace"), settings, made


def test_two_models_trade_one_account_and_are_gone_on_with(workspace):
    space, settings, made = workspace
    models = ["--model", "a", "--model", "b", "--session", "s", "--json"]
    now = int(settings.synthetic.start.timestamp() * 1000) + 900 * HOUR
    with played(Tape.synthetic(settings.synthetic), speed=3600.0, now=now) as server:
        at = {"venue.source": "practice", "venue.rest_url": server.url, "venue.ws_url": server.ws_url, "runner.max_model_age": None}
        at |= {"switches.volatility": 1e6, "alerts.tell": []}
        first = space.call("run", "--mode", "paper", *models, *words(at | {"runner.bars": 6}))
        assert first.code == 0 and first.json["decisions"] in (6, 7), first  # a symbol may be a bar ahead at the start
        again = space.call("run", "--mode", "paper", *models, "--resume", *words(at | {"runner.bars": 12}))
        assert again.code == 0 and again.json["decisions"] in (12, 13), again
        alone = space.call("run", "--mode", "paper", "--model", "a", "--session", "s", "--resume", *words(at))
        alone.complains(2, "--resume s: was paper of", made["b"].id[:12])
    assert set(again.json["positions"]) == set(SYMBOLS.values()) and again.json["symbol"] == "BTCUSDT+ETHUSDT"
    events = read(space.root / "data/sessions/s" / FILE)
    asked = [(each.strategy, each.symbol) for each in events if isinstance(each, SignalEvent)]
    assert set(asked) == {(made[name].id, symbol) for name, symbol in SYMBOLS.items()} and len(asked) == again.json["decisions"]
    bars = Counter(each.bar for each in events if isinstance(each, SignalEvent))
    assert Counter(bars.values())[2] >= 5, "both decide at the same close"
    assert [each for each in events if isinstance(each, EquityEvent)][-1].equity == pytest.approx(again.json["equity"])
    space.call("reconcile", "s").complains(2, "ran 2 bundles in one account")
