"""Candidates side by side, made from bars in a workspace: the table, the accounts, the paired test, and what the records say of them."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from workspace import Workspace

from quantalpha import config, features, labels, models, promotion
from quantalpha.backtest.walk_forward import final_model, walk_forward_forecasts
from quantalpha.errors import DataError, QuantalphaError
from quantalpha.files import sha256, tree_sha256
from quantalpha.promotion import comparison

ASKED = {"returns": [1, 4]}
TREES = "{trees: 10, learning_rate: 0.1, leaves: 7, min_rows_per_leaf: 20, row_fraction: 0.7, column_fraction: 1.0, l2: 1.0}"
SETTINGS = [
    "features={returns: [1, 4]}", "labels.horizon=4", "labels.volatility_window=24", "splits.train=500", "splits.test=200",
    "splits.embargo=4",
    f"models.lightgbm={TREES}", f"models.xgboost={TREES}", "account.lot=0", "policy.exit=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A workspace with bars of two markets and candidates made from them, best Sharpe ratio first."""
    workspace = Workspace(tmp_path_factory.mktemp("comparison") / "root")
    with workspace.entered():
        params = config.load("default", SETTINGS)
        made = [
            candidate(params, symbol, kind) for symbol, kind in (("AAAUSDT", "lightgbm"), ("AAAUSDT", "xgboost"), ("BBBUSDT", "xgboost"))
        ]
        board = comparison.leaderboard(made)
        ranked = sorted(made, key=lambda each: list(board.index).index(each.name))
        yield SimpleNamespace(board=board, ranked=ranked, results=comparison.accounts(ranked), root=workspace.root)


def bars_of(symbol: str) -> pd.DataFrame:
    """1,100 hours, saved where a pipeline leaves them; a part of each return comes again in the next."""
    path = config.path(f"data/clean/{symbol}.parquet")
    if not path.is_file():
        rng = np.random.default_rng(len(symbol) + ord(symbol[0]))
        noise = 0.01 * rng.normal(size=1_100)
        close = 100 * np.exp(np.cumsum(noise + 0.4 * np.r_[0, noise[:-1]]))
        open_ = np.r_[100.0, close[:-1]]
        index = pd.date_range("2024-01-01", periods=1_100, freq="h", tz="UTC", name="timestamp").as_unit("ms")
        prices = {"open": open_, "high": np.maximum(open_, close) * 1.001, "low": np.minimum(open_, close) * 0.999, "close": close}
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(prices | {"volume": 1.0}, index).to_parquet(path)
    return pd.read_parquet(path)


def candidate(params: config.Params, symbol: str, kind: str) -> promotion.Candidate:
    bars = bars_of(symbol)
    passport = {"bars": {"path": f"data/clean/{symbol}.parquet", "sha256": sha256(config.path(f"data/clean/{symbol}.parquet"))}}
    named = promotion.origin(symbol, params, ASKED, passport, bars.index[-1])
    table = features.build(ASKED).compute(bars), labels.label(bars, params.labels), params.splits, models.fitter(kind, params.models)
    trained = promotion.Trained(named, final_model(*table), walk_forward_forecasts(*table))
    folder = config.path(f"data/candidates/{symbol}-{kind}")
    return promotion.write_candidate(folder, trained, bars, *promotion.backtest_candidate(trained, bars, 2))


def test_the_board_holds_money_and_forecasts_best_first(shop):
    assert shop.board["sharpe_ratio"].is_monotonic_decreasing and len(shop.board) == 3
    first = shop.ranked[0]
    row = shop.board.loc[first.name]
    assert row["turnover"] == first.metrics["turnover"]
    assert row["brier"] == pytest.approx(np.mean([fold["brier"] for fold in first.trained.walk.folds]))


def test_folds_made_before_a_score_existed_have_none(shop):
    old = [{"fold": 0, "log_loss": 1.0}]
    walk = SimpleNamespace(folds=old)
    bare = SimpleNamespace(name="old", metrics=shop.ranked[0].metrics, trained=SimpleNamespace(walk=walk))
    row = comparison.leaderboard([bare]).loc["old"]
    assert row["log_loss"] == 1.0 and np.isnan(row["brier"])


def test_the_accounts_are_those_the_candidates_were_judged_by_and_no_new_try(shop):
    for each in shop.ranked:
        assert shop.results[each.name].metrics()["sharpe_ratio"] == pytest.approx(each.metrics["sharpe_ratio"], rel=1e-12)
    assert comparison.tries(shop.ranked).to_dict() == {"AAAUSDT-lightgbm": 2, "AAAUSDT-xgboost": 2, "BBBUSDT-xgboost": 1}


def test_the_duel_is_between_two_of_one_market(shop):
    pair = [each for each in shop.ranked if each.name.startswith("AAA")]
    other = next(each for each in shop.ranked if each.name.startswith("BBB"))
    table = comparison.duel([pair[0], other, pair[1]], shop.results)
    assert table.columns.tolist()[:2] == [each.name for each in pair] and table.index.tolist() == ["log_loss", "sharpe_ratio"]
    assert table["p_value"].between(0, 1).all()
    assert table.loc["sharpe_ratio", "difference"] == pytest.approx(table.iloc[1, 0] - table.iloc[1, 1])
    assert comparison.duel([other, *pair], shop.results).empty


def test_the_gates_word_is_told_of_the_candidate_it_was_given_about(shop, monkeypatch, tmp_path):
    first, second, third = shop.ranked
    lines = [{"name": name, "passed": name != "net_result"} for name in ("trades", "net_result", "real_costs")]
    (tmp_path / "gate.json").write_text(json.dumps({"lines": lines}))
    runs = [
        SimpleNamespace(name=f"walk_forward-{first.name}", run_id="a", tags={"gate": "refused", "sha256.x": tree_sha256(first.folder)}),
        SimpleNamespace(name=f"walk_forward-{second.name}", run_id="b", tags={"gate": "refused", "sha256.x": "of another time"}),
        SimpleNamespace(name=f"walk_forward-{third.name}", run_id="c", tags={"sha256.x": tree_sha256(third.folder)}),
    ]
    monkeypatch.setattr(comparison.tracking, "runs", lambda **_: runs)
    monkeypatch.setattr(comparison.tracking, "artifact_folder", lambda run_id: tmp_path)
    assert comparison.gate_lines(shop.ranked).tolist() == ["2 of 3", "not judged", "not judged"]


def test_without_a_record_to_ask_the_board_still_stands(shop, monkeypatch):
    def gone(**_):
        raise QuantalphaError("MLflow: no answer")

    monkeypatch.setattr(comparison.tracking, "runs", gone)
    assert comparison.gate_lines(shop.ranked).unique().tolist() == ["unknown"]
    assert comparison.gate_lines([]).empty  # nothing is asked


def test_bars_that_changed_are_refused(shop):
    path = shop.root / "data/clean/BBBUSDT.parquet"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept + b" ")
        with pytest.raises(DataError, match="the bars this candidate was made from have changed"):
            comparison.accounts([each for each in shop.ranked if each.name.startswith("BBB")])
    finally:
        path.write_bytes(kept)
