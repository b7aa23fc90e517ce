"""Which bars are to be doubted: frozen, without volume, outliers, away from a witness, or given otherwise by a second source.

Every judgement but the last uses the bar and those before it alone, as a live process could have made it. Each fault has a policy:

    drop    the bar is taken out; it is missing from then on
    flag    it stays, with 1 in the column `disputed`: a backtest can tell what rests on it
    mask    it stays for the money, with 2 in `disputed`: no label is learnt from a path that touches it

Nothing is ever filled or corrected.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from quantalpha import config, schema, timeframe
from quantalpha.errors import DataError

LEAST_REACH = 1e-4  # a quiet market's usual reach is no less than a basis point: ticks are coarser than its moves
FAULTS = ("frozen", "zero_volume", "outlier", "jump", "sources")
COLUMNS = ("timestamp", "fault", "value", "allowed", "policy")


def judge(
    bars: pd.DataFrame,
    params: config.Quality,
    bar: str,
    witnesses: Mapping[str, pd.DataFrame] | None = None,
    differ: Iterable[pd.Timestamp] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(bars, faults): `bars` with the column `disputed` where a fault is flagged or masked, without those that are dropped.

    bars: sound, of timeframe `bar`. witnesses: other tables with a `close` at the same times (market.witnesses), such as the index price or
    a second venue's bars; the column `mark` of the bars is one too. differ: times at which a second source disagrees (Lake.disputed).
    faults: timestamp, fault, value (what was measured), allowed, policy; in order of time. DataError: more than `max_dropped` would be.
    """
    found = [
        _frozen(bars, params),
        _zero_volume(bars),
        _outliers(bars, params, timeframe.milliseconds(bar)),
        *(_jumps(bars, witness, params.max_jump) for witness in _closes(bars, witnesses or {})),
        _sources(bars, differ),
    ]
    policies = dict(zip(FAULTS, (params.frozen, params.zero_volume, params.outliers, params.jumps, params.sources)))
    faults = pd.concat(found, ignore_index=True)
    faults = faults.assign(policy=faults["fault"].map(policies)).sort_values(["timestamp", "fault"], ignore_index=True)
    return _applied(bars, faults, params.max_dropped), faults[list(COLUMNS)]


def counts(faults: pd.DataFrame) -> dict[str, int]:
    """How many bars each fault was found in, every fault named."""
    each = faults.drop_duplicates(["timestamp", "fault"])["fault"].value_counts()
    return {name: int(each.get(name, 0)) for name in FAULTS}


def reach(bars: pd.DataFrame, step: int) -> np.ndarray:
    """float64[n]: the largest |log| of open, high, low and close over the close before, for one bar's time; NaN for the first.

    After k missing bars the price has had k + 1 bars of time: a move grows with its square root.
    """
    before = bars["close"].shift(1).to_numpy(float)
    moves = np.abs(np.log(bars[list(schema.REQUIRED[:4])].to_numpy(float) / before[:, None])).max(axis=1)
    waited = np.diff(schema.epoch_ms(bars.index), prepend=np.nan) / step
    return moves / np.sqrt(waited)


def _applied(bars: pd.DataFrame, faults: pd.DataFrame, allowed: float) -> pd.DataFrame:
    dropped = bars.index.isin(faults["timestamp"][faults["policy"] == "drop"])
    if len(bars) and dropped.mean() > allowed:
        why = ", ".join(sorted(set(faults["fault"][faults["policy"] == "drop"])))
        told = f"{dropped.mean():.2%} of {len(bars)} bars would be dropped ({why}), allowed {allowed:.2%}"
        raise DataError(f"quality: {told} (quality.max_dropped); first {bars.index[dropped][0]}; check the source, or flag them instead")
    kept = bars[~dropped]
    marks = np.zeros(len(kept))
    for policy, value in (("flag", schema.FLAGGED), ("mask", schema.MASKED)):
        marks[kept.index.isin(faults["timestamp"][faults["policy"] == policy])] = value
    return kept.assign(**{schema.DISPUTED: marks}) if marks.any() else kept


def _table(bars: pd.DataFrame, wrong: np.ndarray, fault: str, value: np.ndarray, allowed) -> pd.DataFrame:
    allowed = np.broadcast_to(np.asarray(allowed, float), len(bars))
    return pd.DataFrame({"timestamp": bars.index[wrong], "fault": fault, "value": value[wrong], "allowed": allowed[wrong]})


def _frozen(bars: pd.DataFrame, params: config.Quality) -> pd.DataFrame:
    """A price that has not moved for `frozen_bars` bars, and a bar that repeats the one before, its volume too: a feed that hangs."""
    prices, volume = bars[list(schema.REQUIRED[:4])].to_numpy(float), bars["volume"].to_numpy(float)
    flat = (prices.max(axis=1) == prices.min(axis=1)) & (prices[:, 3] == bars["close"].shift(1).to_numpy(float))
    run = _run_lengths(flat)
    again = np.zeros(len(bars), bool)
    again[1:] = (prices[1:] == prices[:-1]).all(axis=1) & (volume[1:] == volume[:-1]) & (volume[1:] > 0) & ~flat[1:]
    return _table(bars, (run >= params.frozen_bars) | again, "frozen", np.where(again, 1.0, run), params.frozen_bars)


def _run_lengths(true: np.ndarray) -> np.ndarray:
    """float64[n]: of how many true values, this one included, each is the last."""
    total = np.cumsum(true)
    return total - np.maximum.accumulate(np.where(true, 0, total)).astype(float)


def _zero_volume(bars: pd.DataFrame) -> pd.DataFrame:
    volume = bars["volume"].to_numpy(float)
    return _table(bars, volume == 0, "zero_volume", volume, 0.0)


def _outliers(bars: pd.DataFrame, params: config.Quality, step: int) -> pd.DataFrame:
    """A bar that reaches further from the close before than `outlier_scale` times the usual.

    Usual is the trailing median of the reach, of the bars before alone, robust against a half of them. Real crashes come with volume: what
    is allowed grows with the square root of the volume over its trailing median, as price impact does (Toth et al. 2011); a wrong tick
    brings no volume. The first half window is not judged: nothing is usual yet.
    """
    moved, least = pd.Series(reach(bars, step)), params.outlier_window // 2
    usual = np.maximum(moved.rolling(params.outlier_window, min_periods=least).median().shift(1).to_numpy(), LEAST_REACH)
    volume = bars["volume"].reset_index(drop=True)
    before = volume.rolling(params.outlier_window, min_periods=least).median().shift(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        traded = np.sqrt(np.maximum(1.0, np.where(before > 0, volume / before, 1.0)))
    allowed = params.outlier_scale * usual * traded
    return _table(bars, moved.to_numpy() > allowed, "outlier", moved.to_numpy(), allowed)


def _closes(bars: pd.DataFrame, witnesses: Mapping[str, pd.DataFrame]) -> list[np.ndarray]:
    """float64[n] of each witness, NaN where it says nothing."""
    own = {"mark": bars[["mark"]].rename(columns={"mark": "close"})} if "mark" in bars else {}
    tables = (own | dict(witnesses)).values()
    return [table["close"][~table.index.duplicated(keep="last")].reindex(bars.index).to_numpy(float) for table in tables]


def _jumps(bars: pd.DataFrame, witness: np.ndarray, allowed: float) -> pd.DataFrame:
    """A close further than `allowed` (a fraction) from the witness's; where that says nothing, nothing is found."""
    away = np.abs(bars["close"].to_numpy(float) / np.where(witness > 0, witness, np.nan) - 1)
    return _table(bars, away > allowed, "jump", away, allowed)


def _sources(bars: pd.DataFrame, differ: Iterable[pd.Timestamp]) -> pd.DataFrame:
    wrong = bars.index.isin(pd.DatetimeIndex(list(differ), tz="UTC"))
    return _table(bars, wrong, "sources", wrong.astype(float), 0.0)
