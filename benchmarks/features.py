"""The whole catalogue of features over five years of minutes, each next to one TA-Lib EMA over the same rows; and what a live bar pays.

python benchmarks/features.py [bars]

CPU seconds of one core, the second of two passes; a single feature's on whole arrays, and what several features share, made once, on lines
of its own.
`latest` is wall time, each call on another window of the tape; a single feature's is that of its function on its own rows.
"""

import resource
import sys
import time

import numpy as np
import pandas as pd
import talib

from quantalpha import features, schema
from quantalpha.features.base import FeatureSet
from quantalpha.features.derived import DERIVED, TIME, derive

CATALOGUE = {
    "returns": [1, 5, 15, 60, 240, 1440],
    "scaled_return": [60, 1440],
    "rsi": [14, 60],
    "range_position": [60, 1440],
    "stochastic": [(14, 3, 3)],
    "cci": [20],
    "moving_average_distance": [60, 240, 1440],
    "ema_distance": [20, 100],
    "ma_cross": [(10, 50), (60, 240)],
    "macd": [(12, 26, 9)],
    "adx": [14, 60],
    "aroon": [25],
    "ichimoku": [(9, 26, 52)],
    "slope": [20, 60, 240],
    "volatility": [30, 240, 1440],
    "volatility_ratio": [(30, 240), (240, 1440)],
    "downside": [240],
    "atr": [14, 240],
    "parkinson": [30, 240],
    "garman_klass": [30, 240],
    "yang_zhang": [30, 240],
    "bollinger": [20, 240],
    "bollinger_width": [20, 240],
    "keltner": [(20, 10)],
    "relative_volume": [60, 1440],
    "on_balance_volume": [20, 240],
    "money_flow": [14, 60],
    "vwap_distance": [60, 1440],
    "amihud": [(60, 1440)],
    "funding": [480, 1440],
    "funding_carry": [480, 1440],
    "funding_change": [(480, 1440)],
    "basis": [("mark", 1), ("mark", 60)],
    "calendar": [24, 168],
    "funding_clock": [8],
    "taker_imbalance": [1, 15, 60],
    "order_flow_imbalance": [1, 15],
    "book_imbalance": [1, 15],
    "microprice": [1, 15],
    "relative_spread": [60],
    "leader_return": [("BTCUSDT", 1), ("BTCUSDT", 15), ("BTCUSDT", 60)],
    "relative_strength": [("BTCUSDT", 60), ("BTCUSDT", 1440)],
    "leader_beta": [("BTCUSDT", 240)],
    "onchain_change": [("CapMVRVCur", 1440)],
    "onchain_score": [("CapMVRVCur", 1440)],
    "fractional_difference": [(0.4, 1e-4)],
    "wavelet_denoise": [("db4", 4, 256)],
    "volume_profile": [(240, 24)],
}


def tape(rows: int) -> pd.DataFrame:
    """A walk in minutes with every column that the catalogue reads."""
    rng = np.random.default_rng(0)
    close = 30_000 * np.exp(np.cumsum(7e-4 * rng.standard_normal(rows)))
    open_ = np.append(30_000.0, close[:-1])
    volume, spread, mid = rng.lognormal(3, 1, rows), close * 1e-5, close
    frame = {
        "open": open_,
        "high": np.maximum(open_, close) * (1 + 3e-4 * rng.random(rows)),
        "low": np.minimum(open_, close) * (1 - 3e-4 * rng.random(rows)),
        "close": close,
        "volume": volume,
        "taker_buy_volume": volume * rng.random(rows),
        "funding_rate": np.where(np.arange(rows) % 480 == 0, 1e-4, 0.0),
        "mark": close * (1 + 1e-4 * rng.standard_normal(rows)),
        "mid": mid,
        "spread": spread,
        "microprice": mid + spread * (rng.random(rows) - 0.5),
        "depth": rng.lognormal(1, 1, rows),
        "order_flow_imbalance": rng.standard_normal(rows),
        "book_imbalance": rng.uniform(-1, 1, rows),
        "BTCUSDT.close": 60_000 * np.exp(np.cumsum(6e-4 * rng.standard_normal(rows))),
        "onchain_CapMVRVCur": np.repeat(2 + 0.01 * rng.standard_normal(rows // 1440 + 1), 1440)[:rows],
    }
    return pd.DataFrame(frame, index=schema.from_epoch_ms(1_577_836_800_000 + np.arange(rows) * 60_000))


def seconds(call, clock=time.process_time) -> float:
    started = clock()
    call()
    return clock() - started


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def batch(catalogue: FeatureSet, bars: pd.DataFrame) -> None:
    before = peak_gigabytes()
    first, again = (seconds(lambda: catalogue.compute(bars)) for _ in range(2))
    peak, close = peak_gigabytes(), bars["close"].to_numpy().copy()
    ema = min(seconds(lambda: talib.EMA(close, 24)) for _ in range(9))
    print(f"{len(bars):,} bars, {len(catalogue.features)} features in {len(catalogue.names)} columns, lookback {catalogue.lookback:,}")
    print(f"compute: {again:.1f} s, {again / ema:,.0f} TA-Lib EMAs of {ema * 1e3:.1f} ms; peak {peak:.2f} GB, of it bars {before:.2f} GB")
    print(f"the first time {first:.1f} s: the system has to find the memory")
    arrays = {name: bars[name].to_numpy().copy() for name in catalogue.columns if name != TIME} | {TIME: schema.epoch_ms(bars.index)}
    shared = sorted({name for feature in catalogue.features for name in feature.columns if name in DERIVED})
    made = {name: min(seconds(lambda name=name: derive([name], arrays)) for _ in range(2)) for name in shared}
    arrays |= derive(shared, arrays)  # made now, so that no feature pays for it
    costs = {feature.name: min(seconds(lambda f=feature: f.values(arrays)) for _ in range(2)) for feature in catalogue.features}
    print(f"\n{'':36s}{'ms':>8s}{'EMAs':>8s}{'us, latest':>12s}")
    for name, cost in made.items():
        print(f"{name + ' (shared)':36s}{cost * 1e3:8.0f}{cost / ema:8.1f}")
    for feature in catalogue.features:
        cost = costs[feature.name]
        print(f"{feature.name:36s}{cost * 1e3:8.0f}{cost / ema:8.1f}{own_latest(feature, arrays) * 1e6:12.1f}")


def own_latest(feature, arrays: dict[str, np.ndarray]) -> float:
    held = {name: arrays[name][-feature.lookback :].copy() for name in feature.columns}
    return float(np.median([seconds(lambda: feature.values(held), time.perf_counter) for _ in range(500)]))


def live(catalogue: FeatureSet, bars: pd.DataFrame) -> None:
    ends = np.random.default_rng(0).integers(catalogue.lookback, len(bars), 3_000)
    windows = [bars.iloc[end - catalogue.lookback : end] for end in ends]
    times = [seconds(lambda window=window: catalogue.latest(window), time.perf_counter) * 1e6 for window in windows]
    print(f"\nlatest, the whole catalogue: median {np.median(times):.0f} us, P99 {np.quantile(times, 0.99):.0f} us")


def main(rows: int) -> None:
    if missing := features.FAMILIES.keys() - CATALOGUE.keys():
        raise SystemExit(f"benchmarks/features.py: add {', '.join(sorted(missing))} to CATALOGUE")
    catalogue, bars = features.build(CATALOGUE), tape(rows)
    catalogue.compute(bars.head(2 * catalogue.lookback))  # compiles
    batch(catalogue, bars)
    live(catalogue, bars.tail(20_000))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_628_000)
