"""Sound twins of the leaks: each column follows from this bar and earlier ones, however long it remembers."""

import inspect

import numpy as np
import pandas as pd
from scipy import signal

from quantalpha import timeframe
from quantalpha.errors import UsageError
from quantalpha.features import FAMILIES, FeatureSet, build
from quantalpha.features.registry import make
from quantalpha.labels import barrier_volatility

WINDOWS = (3, 5, 14, 24, 48)
HIGHER = {"4h": {"returns": [1, 6], "rsi": [6], "volatility": [6]}, "1d": {"returns": [1], "range_position": [3], "bollinger": [3]}}
TIMES = {"slow": 3, "long": 3, "base": 3, "span": 6}  # arguments that are longer windows
OTHERS = {
    "smooth": 3, "signal": 3, "symbol": "ETHUSDT", "column": "CapMVRVCur", "reference": "mark", "wavelet": "db4", "levels": 2, "bins": 12,
    "order": 0.4, "tolerance": 1e-3,
}  # fmt: skip


def registered() -> FeatureSet:
    """Every registered family with several windows, and some on higher timeframes."""
    return build({family: _listed(family) for family in FAMILIES} | HIGHER, "1h")


def _listed(family: str) -> list[list]:
    """Arguments for each of WINDOWS that the family can do with."""
    names = list(inspect.signature(FAMILIES[family]).parameters)
    made = [[OTHERS.get(name, TIMES.get(name, 1) * window) for name in names] for window in WINDOWS]
    return [one for one in {str(one): one for one in made}.values() if _accepted(family, one)]


def _accepted(family: str, arguments: list) -> bool:
    try:
        make(family, *arguments)
    except UsageError:
        return False
    return True


def look_alikes(bars: pd.DataFrame) -> pd.DataFrame:
    """Trailing, expanding, forgetting, as-of joined and resampled columns, none of which sees what follows."""
    close, volume, change, index = bars.close, bars.volume, bars.close.pct_change(), bars.index
    day = index.floor("D")
    found = {
        "last_return": change,
        "lag_of_a_month": close.shift(720),
        "trailing_mean": close.rolling(11).mean(),
        "trailing_mean_of_few": close.rolling(24, min_periods=1).mean(),
        "trailing_score": (close - close.rolling(240).mean()) / close.rolling(240).std(),
        "trailing_rank": volume.rolling(100).rank(pct=True),
        "trailing_quantile": volume.rolling(100).quantile(0.9),
        "trailing_median": volume.rolling(50).median(),
        "trailing_skew": change.rolling(72).skew(),
        "trailing_correlation": volume.rolling(48).corr(change),
        "trailing_regression": close.rolling(30).cov(pd.Series(np.arange(len(bars)), index)),
        "trailing_extreme": close.rolling(500, min_periods=1).max(),
        "expanding_mean": close.expanding().mean(),
        "expanding_score": (close - close.expanding(2).mean()) / close.expanding(2).std(),
        "expanding_rank": volume.expanding().rank(pct=True),
        "expanding_quantile": volume.expanding(20).quantile(0.99),
        "expanding_range": (close - close.cummin()) / (close.cummax() - close.cummin()),
        "clipped_by_the_past": change.clip(upper=change.expanding(20).quantile(0.99).shift(1)),
        "alarm_by_the_past": (change.abs() > 2 * change.expanding(20).std()).astype(float),
        "running_total": volume.cumsum(),
        "running_product": (1 + change.fillna(0.0)).cumprod(),
        "on_balance": (np.sign(change).fillna(0.0) * volume).cumsum(),
        "record": close.cummax(),
        "drawdown": close / close.cummax() - 1,
        "slow_average": close.ewm(span=300).mean(),
        "slower_average": close.ewm(span=2_000).mean(),
        "recursive_average": close.ewm(alpha=0.01, adjust=False).mean(),
        "slow_deviation": change.ewm(span=500).std(),
        "average_in_time": close.ewm(halflife="3D", times=index).mean(),
        "causal_filter": signal.lfilter(*signal.butter(2, 0.1), close),
        "causal_convolution": signal.fftconvolve(close, np.ones(50) / 50)[: len(bars)],
        "first_price": close / close.iloc[0],
        "bars_so_far": np.arange(len(bars), dtype=float),
        "hours_since_the_start": (index - index[0]) / pd.Timedelta(hours=1),
        "hours_since_the_last_bar": index.to_series().diff() / pd.Timedelta(hours=1),
        "after_a_gap": (index.to_series().diff() > pd.Timedelta(hours=1)).astype(float),
        "filled_forward": bars.open_interest.ffill(),
        "missing_so_far": bars.open_interest.isna().cumsum(),
        "missing_as_it_is": bars.open_interest,
        "last_funding": bars.funding_rate.replace(0.0, np.nan).ffill(),
        "funding_so_far_today": bars.funding_rate.groupby(day).cumsum(),
        "bar_of_the_day": close.groupby(day).cumcount(),
        "open_of_the_day": close / bars.open.groupby(day).transform("first"),
        "high_of_the_day_so_far": bars.high.groupby(day).cummax() / close,
        "volume_price_of_the_day_so_far": (close * volume).groupby(day).cumsum() / volume.groupby(day).cumsum(),
        "mean_of_this_hour_so_far": volume.groupby(index.hour).transform(lambda hour: hour.expanding().mean()),
        "last_answer_of_this_hour": change.groupby(index.hour).shift(1),
        "hour": index.hour,
        "weekend": (index.dayofweek >= 5).astype(float),
        "month_end": index.is_month_end.astype(float),
        "flag": bars.halted,
        "bars_since_the_flag": (bars.halted > 0).cumsum().groupby((bars.halted > 0).cumsum()).cumcount(),
        "peaks_once_confirmed": (close.shift(6) == close.rolling(13).max()).astype(float),
        "level": close // 250,
        "constant": 1.0,
        "bar_shape": (close - bars.low) / (bars.high - bars.low).replace(0.0, np.nan),
        "taker_share": bars.taker_buy_volume / volume,
        "seeded_noise": close + np.random.default_rng(0).normal(size=len(bars)) * 1e-3,
        "barrier_volatility": barrier_volatility(bars, window=48, horizon=12),
    }
    joined = {
        "yesterdays_high": _closed(bars.high.resample("D").max(), "1d", index),
        "last_four_hours": _closed(close.resample("4h").last(), "4h", index),
        "last_week": _closed(close.resample("7D").mean(), "7d", index),
        "funding_joined_backward": _joined(bars),
        "state_machine": _breakouts(close.to_numpy()),
        "level_filter": _filtered(change.fillna(0.0).to_numpy()),
    }
    return pd.DataFrame(found | joined, index=index).astype(float)


class Incremental:
    """Keeps what it computed and goes on from there when the new bars begin with those it knows: state, but a sound one."""

    def __init__(self):
        self.close, self.total = np.empty(0), np.empty(0)

    def __call__(self, bars: pd.DataFrame) -> pd.DataFrame:
        close = bars.close.to_numpy()
        known = len(self.close)
        if known > len(close) or not np.array_equal(self.close, close[:known]):
            known = 0
        rest = np.cumsum(np.concatenate((self.total[known - 1 : known], close[known:])))[min(known, 1) :]
        self.close, self.total = close, np.concatenate((self.total[:known], rest))
        return pd.DataFrame({"incremental_total": self.total}, index=bars.index)


def _closed(higher: pd.Series, length: str, index: pd.Index) -> pd.Series:
    """The last higher bar that had ended when the hourly bar closed."""
    ends = higher.set_axis(higher.index + pd.Timedelta(milliseconds=timeframe.milliseconds(length)) - pd.Timedelta(hours=1))
    return ends.reindex(index, method="ffill")


def _joined(bars):
    paid = bars.funding_rate[bars.funding_rate != 0].rename("rate").reset_index()
    return pd.merge_asof(bars[[]].reset_index(), paid, on="timestamp").set_index("timestamp").rate


def _breakouts(close):
    """+1 after a rise of 3 % from the last turn, -1 after a fall: a zig-zag told when it is confirmed."""
    side, extreme, sides = 1.0, close[0], []
    for price in close.tolist():
        extreme = max(extreme, price) if side > 0 else min(extreme, price)
        if side * (price / extreme - 1) < -0.03:
            side, extreme = -side, price
        sides.append(side)
    return np.array(sides)


def _filtered(change):
    """P(stormy) of two volatility states, forward only."""
    likely = (np.exp(-0.5 * (change[:, None] / 0.008 / (0.6, 1.7)) ** 2) / (0.6, 1.7) + 1e-12).tolist()
    calm, stormy, found = 0.5, 0.5, []
    for one, two in likely:
        calm, stormy = one * (0.97 * calm + 0.03 * stormy), two * (0.03 * calm + 0.97 * stormy)
        calm, stormy = calm / (calm + stormy), stormy / (calm + stormy)
        found.append(stormy)
    return np.array(found)
