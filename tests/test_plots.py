"""Every figure draws from ordinary and from thin data, says what its axes are, and leaves nothing open behind it."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from quantalpha import plots
from quantalpha.backtest import periods
from quantalpha.schema import from_epoch_ms
from quantalpha.validation import (
    areas,
    confusion,
    information_decay,
    period_drift,
    precision_recall_curves,
    rank_correlation,
    reliability,
    roc_curves,
)

RNG = np.random.default_rng(0)
N = 3000
INDEX = from_epoch_ms(np.arange(N) * 3_600_000)
CLOSE = pd.Series(30_000 * np.exp(np.cumsum(RNG.normal(0, 0.005, N))), index=INDEX)
EQUITY = (CLOSE / 3).rename("candidate")
FEATURES = pd.DataFrame(RNG.normal(size=(N, 6)), index=INDEX, columns=list("abcdef")).assign(g=lambda f: f["a"] + 0.1 * f["b"])
MANY = pd.DataFrame(RNG.normal(size=(N, 51)), index=INDEX, columns=[f"feature_{k}" for k in range(51)])
COLUMNS = {"entry_price": 30_000.0, "exit_price": 31_000.0, "pnl": [1.0, -1.0, 1.0], "side": ["long", "short", "long"]}
TRADES = pd.DataFrame({"entry_time": INDEX[[1, 50, 2000]], "exit_time": INDEX[[50, 90, 2100]].where([True, True, False]), **COLUMNS})
LABELS = pd.Series(RNG.choice([-1.0, 0.0, 1.0, np.nan], N), index=INDEX)
CHANCE = pd.Series(RNG.random(N), index=INDEX)
SCORES = pd.DataFrame(RNG.normal(size=(3, 5)), pd.Index([2.0, 3.5, 5.0], name="ratio"), pd.Index([4, 8, 16, 32, 64], name="fast"))
THREE = RNG.dirichlet([1, 1, 1], N)
CONFUSION = pd.concat({k: confusion(LABELS.iloc[k::2], THREE[k::2]) for k in (0, 1)}, names=["fold"])
GROUPS = pd.DataFrame({"information_coefficient": RNG.normal(size=24), "log_loss": RNG.random(24) + 0.6})
NUMBERS = ["sharpe_ratio", "max_drawdown", "turnover", "brier"]
BOARD = pd.DataFrame(RNG.normal(size=(40, 4)), [f"run {k}" for k in range(40)], NUMBERS).assign(absent=np.nan, same=1.0)

SETS = pd.DataFrame(
    {"trees": RNG.integers(50, 400, 20), "l2": 10 ** RNG.uniform(-1, 1, 20), "state": ["complete"] * 15 + ["pruned"] * 5}
    | {"sharpe_ratio": RNG.normal(size=20), "max_drawdown": RNG.random(20), "turnover": 500 * RNG.random(20)}
    | {"pareto": [True] * 4 + [False] * 16, "chosen": [True] + [False] * 19}
)
SHARES = pd.DataFrame({0: [0.7, 0.3], "final": [0.6, np.nan]}, index=["trees", "l2"])

CAUSES = pd.DataFrame({"cause": ["fee", "funding", "unexplained"], "money": [-120.0, 40.0, 0.0]})
ORDERS = pd.DataFrame(
    {"refused": ["", "leverage", ""], "filled": [1.0, 0.0, -1.0], "price": 100.0, "delay": [900.0, np.nan, 1500.0]}
    | {"slippage": [2e-4, 0.0, -1e-4], "expected_slippage": 1e-4},
    index=INDEX[:3],
)

FIGURES = {
    "gap_waterfall": lambda: plots.gap_waterfall(CAUSES, 10_000.0),
    "no gap": lambda: plots.gap_waterfall(CAUSES.assign(money=0.0), 10_000.0),
    "execution_quality": lambda: plots.execution_quality(ORDERS),
    "no delay known": lambda: plots.execution_quality(ORDERS.assign(delay=np.nan)),
    "no order": lambda: plots.execution_quality(ORDERS.iloc[:0]),
    "search_importance": lambda: plots.search_importance(SHARES),
    "search_contour": lambda: plots.search_contour(SETS, "trees", "l2", log=("l2",)),
    "two sets": lambda: plots.search_contour(SETS.iloc[:2], "trees", "l2"),
    "one value": lambda: plots.search_contour(SETS.assign(trees=50), "trees", "l2"),
    "search_front": lambda: plots.search_front(SETS, (0.3, 300.0)),
    "no set": lambda: plots.search_front(SETS.iloc[:0], (0.3, 300.0)),
    "equity_and_drawdown": lambda: plots.equity_and_drawdown(EQUITY, {"buy and hold": CLOSE}),
    "equity alone": lambda: plots.equity_and_drawdown(EQUITY.iloc[:2]),
    "ruined equity": lambda: plots.equity_and_drawdown(EQUITY * (np.arange(N) < 2000), {"ruin": CLOSE * 0.0}),
    "monthly_returns": lambda: plots.monthly_returns(periods.monthly_returns(EQUITY.pct_change().fillna(0.0))),
    "flat month": lambda: plots.monthly_returns(periods.monthly_returns(EQUITY.iloc[:10] * 0.0)),
    "trades_on_price": lambda: plots.trades_on_price(CLOSE, TRADES),
    "no trades": lambda: plots.trades_on_price(CLOSE, TRADES.iloc[:0]),
    "trades and fills": lambda: plots.trades_on_price(CLOSE, TRADES, pd.DataFrame({"time": INDEX[[2, 50]], "price": 30_500.0})),
    "fold_metric": lambda: plots.fold_metric(pd.Series(RNG.normal(size=40), index=INDEX[::75]), metric="Sharpe ratio"),
    "one fold": lambda: plots.fold_metric(pd.Series([0.4]), metric="accuracy", reference=0.33),
    "parameter_heatmap": lambda: plots.parameter_heatmap(SCORES.mask(SCORES > 1.0), (3.4, 17)),
    "no scores": lambda: plots.parameter_heatmap(SCORES * np.nan),
    "feature_histograms": lambda: plots.feature_histograms(FEATURES),
    "many histograms": lambda: plots.feature_histograms(MANY),
    "feature_correlation": lambda: plots.feature_correlation(rank_correlation(FEATURES), [["a", "g"]]),
    "one feature": lambda: plots.feature_correlation(rank_correlation(FEATURES[["a"]])),
    "features_on_price": lambda: plots.features_on_price(CLOSE, FEATURES, {"few": ["a", "b"], "more": list("cdefg")}),
    "one panel": lambda: plots.features_on_price(CLOSE, FEATURES, {"few": ["a"]}),
    "many panels": lambda: plots.features_on_price(CLOSE.tail(99), MANY.tail(99), {name: [name] for name in MANY}),
    "feature_drift": lambda: plots.feature_drift(period_drift(FEATURES, 900), INDEX[900]),
    "many drifts": lambda: plots.feature_drift(period_drift(MANY, 900, "MS"), INDEX[900]),
    "drift within training": lambda: plots.feature_drift(period_drift(FEATURES, N), INDEX[-1] + pd.Timedelta("1h")),
    "feature_bands": lambda: plots.feature_bands(FEATURES, 900),
    "one band": lambda: plots.feature_bands(FEATURES[["a"]] * 0.0, 900),
    "label_balance": lambda: plots.label_balance(LABELS),
    "label_overlap": lambda: plots.label_overlap(LABELS.notna().cumsum() % 9, CHANCE.mask(LABELS.isna())),
    "return_by_ending": lambda: plots.return_by_ending(CLOSE.pct_change(), LABELS.map({1: "take_profit", -1: "stop_loss", 0: "time"})),
    "return_by_label": lambda: plots.return_by_ending(CLOSE.pct_change(), LABELS),
    "events_on_price": lambda: plots.events_on_price(CLOSE, LABELS),
    "data_coverage": lambda: plots.data_coverage({"BTCUSDT 1h": INDEX.delete([5, 6, 900]), "ETHUSDT 1h": INDEX}, pd.Timedelta("1h")),
    "forecast_calibration": lambda: plots.forecast_calibration(CHANCE, LABELS == 1),
    "confusion_matrix": lambda: plots.confusion_matrix(CONFUSION),
    "confusion of many folds": lambda: plots.confusion_matrix(pd.concat(dict.fromkeys(range(40), CONFUSION.loc[0]), names=["fold"])),
    "roc_and_precision_recall": lambda: plots.roc_and_precision_recall(
        roc_curves(LABELS, THREE), precision_recall_curves(LABELS, THREE), areas(LABELS, THREE), title="ROC"
    ),
    "reliability_diagram": lambda: plots.reliability_diagram(reliability(LABELS, THREE)),
    "information_decay": lambda: plots.information_decay(information_decay(CHANCE, CLOSE)),
    "horizons beyond the bars": lambda: plots.information_decay(information_decay(CHANCE.iloc[:9], CLOSE.iloc[:9], [1, 4, 99])),
    "scores_by_group": lambda: plots.scores_by_group({"trend": GROUPS.iloc[:2], "hour": GROUPS}),
    "contributions": lambda: plots.contributions(MANY.T.iloc[:, :6].abs()),
    "one contribution": lambda: plots.contributions(MANY.T.iloc[:1, :1].abs()),
    "parallel_coordinates": lambda: plots.parallel_coordinates(BOARD.iloc[:4]),
    "many candidates": lambda: plots.parallel_coordinates(BOARD),
    "one candidate": lambda: plots.parallel_coordinates(BOARD.iloc[:1]),
    "equity_overlay": lambda: plots.equity_overlay({"a": EQUITY, "b": CLOSE.iloc[500:]}),
    "many equities": lambda: plots.equity_overlay({str(k): EQUITY + k * 500 for k in range(30)}),
    "paper_vs_backtest": lambda: plots.paper_vs_backtest(EQUITY.iloc[:200], EQUITY),
}


@pytest.fixture(params=FIGURES)
def figure(request):
    return FIGURES[request.param]()


def shown(fig):
    return [axes for axes in fig.axes if axes.get_visible()]


def test_draws_and_leaves_no_figure_open(figure, tmp_path):
    from matplotlib import pyplot

    figure.savefig(tmp_path / "figure.png", dpi=60)
    assert (tmp_path / "figure.png").stat().st_size > 3000
    assert pyplot.get_fignums() == []


def test_has_a_title_in_the_house_style(figure):
    titles = [figure.get_suptitle(), *(axes.get_title(loc="left") for axes in shown(figure))]
    assert any(titles)


@pytest.mark.parametrize("name", ["equity_and_drawdown", "trades_on_price", "fold_metric", "forecast_calibration", "paper_vs_backtest"])
def test_axes_say_what_they_show(name):
    axes = shown(FIGURES[name]())
    assert all(ax.get_ylabel() for ax in axes) and axes[-1].get_xlabel()


def test_wide_equity_is_drawn_on_a_log_scale():
    narrow, wide = EQUITY * 0 + 100.0 + np.arange(N) / N, pd.Series(np.geomspace(1, 100, N), index=INDEX)
    assert [plots.equity_and_drawdown(line).axes[0].get_yscale() for line in (narrow, wide)] == ["linear", "log"]


def test_drawdown_panel_shows_the_loss_from_the_peak():
    line = plots.equity_and_drawdown(pd.Series([100.0, 120.0, 90.0, 150.0], index=INDEX[:4])).axes[1].lines[0]
    assert line.get_ydata() == pytest.approx([0.0, 0.0, -0.25, 0.0])


def test_thinning_keeps_the_extremes_and_the_ends():
    line = pd.Series(RNG.normal(size=100_000)).rename_axis("x")
    line[77_777], line[12_345] = 50.0, -50.0
    thin = plots.thin(line)
    assert len(thin) <= plots.POINTS + 2 and thin.index.is_monotonic_increasing
    assert (thin.max(), thin.min(), thin.iloc[0], thin.iloc[-1]) == (50.0, -50.0, line.iloc[0], line.iloc[-1])


def test_coverage_counts_what_is_missing():
    texts = [text.get_text() for text in FIGURES["data_coverage"]().axes[0].texts]
    assert texts == ["2,997 bars, 3 missing in 2 gaps", "3,000 bars, 0 missing in 0 gaps"]


def test_the_cell_nearest_to_the_chosen_parameters_is_framed():
    axes = FIGURES["parameter_heatmap"]().axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("fast", "ratio")
    (frame,) = axes.lines
    assert (frame.get_xdata()[:4].mean(), frame.get_ydata()[:4].mean()) == pytest.approx((2, 1))  # fast 16, ratio 3.5
    assert len(axes.texts) == int((SCORES <= 1.0).to_numpy().sum())


def test_up_is_better_on_every_axis():
    """Of two candidates the first has more Sharpe and more drawdown: its line begins at the top and goes to the bottom."""
    board = pd.DataFrame({"sharpe_ratio": [2.0, 1.0], "max_drawdown": [0.5, 0.1]}, ["bold", "shy"])
    lines = {line.get_label(): list(line.get_ydata()) for line in plots.parallel_coordinates(board).axes[0].lines}
    assert (lines["bold"], lines["shy"]) == ([1.0, 0.0], [0.0, 1.0])
    many = FIGURES["many candidates"]().axes[0]
    assert [text.get_text() for text in many.get_legend().get_texts()] == [*(f"run {k}" for k in range(6)), "34 more"]
    assert len(many.get_xticks()) == 5  # a number that none has is left out


def test_equities_begin_at_one():
    axes = FIGURES["equity_overlay"]().axes
    assert [line.get_ydata()[0] for line in axes[0].lines[:2]] == [1.0, 1.0] and max(axes[1].lines[0].get_ydata()) == 0.0


def test_the_waterfall_goes_from_one_equity_to_the_other():
    axes = FIGURES["gap_waterfall"]().axes[0]
    assert [text.get_text() for text in axes.texts] == ["10,000.00", "9,920.00", "-120.00", "+40.00", "0"]
    assert axes.get_title(loc="left").endswith(": -80.00")
    steps = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches[2:]]
    assert steps == [(10_000.0, 9_880.0), (9_880.0, 9_920.0)]


def test_alike_features_stand_together():
    axes = FIGURES["feature_correlation"]().axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert abs(names.index("a") - names.index("g")) == 1
    (frame,) = axes.lines
    first = min(names.index("a"), names.index("g"))
    assert (min(frame.get_xdata()), max(frame.get_ydata())) == (first - 0.5, first + 1.5)


def test_the_line_of_the_drift_stands_where_training_ends():
    quarters = FEATURES.set_axis(pd.date_range("2021-01-01", periods=N, freq="D", tz="UTC"))
    axes = plots.feature_drift(period_drift(quarters, 365), quarters.index[365]).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert axes.lines[0].get_xdata()[0] == labels.index("2022 Q1") - 0.5


def test_lines_of_unlike_spread_are_z_scores():
    fig = plots.features_on_price(CLOSE, FEATURES.assign(b=FEATURES["b"] * 100), {"few": ["a", "b"], "one": ["b"]})
    assert [axes.get_title(loc="left") for axes in fig.axes[1:]] == ["few (z-scores)", "one"]
    assert [text.get_text() for text in fig.axes[1].get_legend().get_texts()] == ["a", "b"]


def test_global_style_is_left_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.equity_and_drawdown(EQUITY)
    assert dict(matplotlib.rcParams) == before


def test_importing_is_cheap():
    code = "import sys, quantalpha.plots; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
