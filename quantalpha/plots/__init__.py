"""Figures in one style: each function takes frames and returns a matplotlib Figure, ready to show in a notebook or to `savefig`.

Times are UTC, returns and drawdowns simple fractions shown as percent, money in quote currency. Colours are Okabe and Ito's, told apart by
colour-blind readers too.
"""

from quantalpha.plots.candidates import equity_overlay, parallel_coordinates
from quantalpha.plots.data import data_coverage, data_faults, data_passports
from quantalpha.plots.evaluation import (
    confusion_matrix,
    contributions,
    information_decay,
    reliability_diagram,
    roc_and_precision_recall,
    scores_by_group,
)
from quantalpha.plots.features import feature_bands, feature_correlation, feature_drift, feature_histograms, features_on_price
from quantalpha.plots.forecasts import fold_metric, forecast_calibration
from quantalpha.plots.labels import events_on_price, label_balance, label_overlap, return_by_ending
from quantalpha.plots.orderflow import explained_by, impact_by_depth, impact_scatter
from quantalpha.plots.review import execution_quality, gap_waterfall
from quantalpha.plots.search import search_contour, search_front, search_importance
from quantalpha.plots.style import BLUE, CYCLE, GREEN, GREY, INK, ORANGE, POINTS, PURPLE, RED, SKY, thin
from quantalpha.plots.trading import equity_and_drawdown, monthly_returns, paper_vs_backtest, parameter_heatmap, trades_on_price

__all__ = [
    "BLUE",
    "CYCLE",
    "GREEN",
    "GREY",
    "INK",
    "ORANGE",
    "POINTS",
    "PURPLE",
    "RED",
    "SKY",
    "confusion_matrix",
    "contributions",
    "data_coverage",
    "data_faults",
    "data_passports",
    "equity_and_drawdown",
    "equity_overlay",
    "events_on_price",
    "execution_quality",
    "explained_by",
    "feature_bands",
    "feature_correlation",
    "feature_drift",
    "feature_histograms",
    "features_on_price",
    "fold_metric",
    "forecast_calibration",
    "gap_waterfall",
    "impact_by_depth",
    "impact_scatter",
    "information_decay",
    "label_balance",
    "label_overlap",
    "monthly_returns",
    "paper_vs_backtest",
    "parallel_coordinates",
    "parameter_heatmap",
    "reliability_diagram",
    "return_by_ending",
    "roc_and_precision_recall",
    "scores_by_group",
    "search_contour",
    "search_front",
    "search_importance",
    "thin",
    "trades_on_price",
]
