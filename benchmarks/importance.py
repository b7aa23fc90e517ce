"""Which features survive: permutation importance on purged folds over BTC's hours, each feature alone and in clusters that say the same.

python benchmarks/importance.py [folder of recorded market data]

Spot bars from 2020, funding of the perpetual, ETH as the leader, on-chain series published a day late; labels and LightGBM of params.yaml,
its training window, tests of a month. Figures are rises of the out-of-sample loss in 1e-4 nats when a feature is shuffled.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.backtest.importance import permutation_importance
from quantalpha.backtest.rows import Rows
from quantalpha.backtest.walk_forward import walk_forward_forecasts
from quantalpha.features import build
from quantalpha.labels import label
from quantalpha.market.leaders import join_leaders
from quantalpha.market.onchain import join_onchain
from quantalpha.models import fitter
from quantalpha.validation import alike, direction_loss, log_loss, rank_correlation

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CATALOGUE = {
    "returns": [1, 4, 24, 72],
    "scaled_return": [24, 168],
    "rsi": [14],
    "range_position": [72],
    "stochastic": [(14, 3, 3)],
    "moving_average_distance": [24, 168],
    "ma_cross": [(24, 168)],
    "macd": [(12, 26, 9)],
    "adx": [14],
    "slope": [24, 168],
    "volatility": [24, 168],
    "volatility_ratio": [(24, 168)],
    "downside": [72],
    "atr": [24],
    "parkinson": [24],
    "yang_zhang": [24],
    "bollinger": [48],
    "bollinger_width": [48],
    "relative_volume": [24, 168],
    "on_balance_volume": [24],
    "money_flow": [24],
    "vwap_distance": [24],
    "amihud": [(24, 168)],
    "funding": [24, 72],
    "calendar": [24, 168],
    "relative_strength": [("ETHUSDT", 24)],
    "leader_beta": [("ETHUSDT", 168)],
    "onchain_change": [("CapMVRVCur", 720)],
    "onchain_score": [("FlowInExNtv", 720)],
    "fractional_difference": [(0.2, 1e-3)],
    "volume_profile": [(168, 24)],
    "wavelet_denoise": [("haar", 4, 64)],
    "4h": {"rsi": [14]},
    "1d": {"returns": [7]},
}


def market(folder: Path) -> pd.DataFrame:
    """BTC's hours from 2020 with everything the catalogue reads."""
    names = (f"binance_spot_{symbol}_1h.parquet" for symbol in ("BTCUSDT", "ETHUSDT"))
    bars, eth = (pd.read_parquet(folder / name).set_index("timestamp").loc["2020":].drop(columns="n_minutes") for name in names)
    settled = pd.read_parquet(folder / "binance_um_BTCUSDT_funding_8h.parquet").set_index("timestamp")["funding_rate"]
    bars["funding_rate"] = settled.groupby(settled.index.floor("h")).sum().reindex(bars.index, fill_value=0.0)
    chain = pd.read_parquet(folder / "coinmetrics_BTC_onchain_1d.parquet").set_index("timestamp")[["CapMVRVCur", "FlowInExNtv"]]
    return join_onchain(join_leaders(bars, {"ETHUSDT": eth}), chain, "1d", "3d")


def clusters(features: pd.DataFrame) -> dict[str, list[str]]:
    """Columns of which every two have a rank correlation of at least 0.7 in `features`, and each other column by itself."""
    groups = list(alike(rank_correlation(features), threshold=0.7)["features"])
    alone = [[name] for name in features.columns if all(name not in group for group in groups)]
    return {group[0] + (f" and {len(group) - 1} like it" if len(group) > 1 else ""): group for group in groups + alone}


def show(title: str, table: pd.DataFrame) -> None:
    shown = table.assign(rise=table.rise * 1e4, error=table.error * 1e4)
    formats = {"rise": "{:.1f}".format, "error": "{:.1f}".format, "folds": "{:.0%}".format, "p_value": "{:.2g}".format}
    print(f"\n{title}: {int(table.survives.sum())} of {len(table)} survive\n{shown.head(12).to_string(formatters=formats)}", flush=True)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    if not folder.is_dir():
        sys.exit(f"no recorded market data in {folder}; give the folder")
    params, bars = config.load(), market(folder)
    table, labels, fit = build(CATALOGUE, "1h").compute(bars), label(bars, params.labels), fitter("lightgbm", params.models)
    rows, splits = Rows(table, labels, params.labels.decay), params.splits.model_copy(update={"test": 730})
    folds = walk_forward_forecasts(table, labels, splits, fit, decay=params.labels.decay).folds
    mean = np.mean([fold["log_loss"] for fold in folds])
    print(f"{len(bars):,} bars {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}, {len(table.columns)} columns, {len(folds)} folds")
    print(f"log loss of the test folds {mean:.4f}, of a forecast that knows nothing {np.log(3):.4f}", flush=True)
    groups = clusters(table.iloc[: splits.train].dropna())
    for asked, loss in (("which of down, flat and up", log_loss), ("which way, of down and up", direction_loss)):
        show(f"For {asked}, each feature alone", permutation_importance(rows, splits, fit, loss=loss))
        show(f"For {asked}, clusters", permutation_importance(rows, splits, fit, groups=groups, loss=loss))


if __name__ == "__main__":
    main()
