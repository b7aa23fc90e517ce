"""What holds for every family: one code path, a finite window, no future, no scale, nothing infinite; each checked on its `EXAMPLES`."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import UsageError
from quantalpha.features import FAMILIES, base, build
from quantalpha.features.fracdiff import fractional_weights

LEVEL = "fractional_difference"  # keeps a share of the price itself
CLOCKS = ("calendar", "funding_clock")  # they read the time alone
PRICES = ["open", "high", "low", "close", "mark", "mid", "microprice", "spread", "BTCUSDT.close"]
AMOUNTS = ["volume", "taker_buy_volume", "depth", "order_flow_imbalance"]
ROW = 1_500  # beyond every lookback


def assert_same_rows(found, expected, rows):
    np.testing.assert_array_equal(found.iloc[rows], expected.iloc[rows])


def test_every_registered_family_has_an_example(spec):
    assert spec.keys() == FAMILIES.keys()


def test_latest_equals_compute_bit_for_bit(bars, family, arguments):
    features = build({family: [arguments]})
    full = features.compute(bars).to_numpy()
    for end in range(features.lookback, len(bars) + 1, 41):
        np.testing.assert_array_equal(features.latest(bars.iloc[end - features.lookback : end]), full[end - 1])


def test_blocks_of_any_size_give_the_same_bits(bars, family, arguments, monkeypatch):
    features = build({family: [arguments]})
    whole = features.compute(bars)
    monkeypatch.setattr(base, "BLOCK", 97)
    pd.testing.assert_frame_equal(features.compute(bars), whole, check_exact=True)


def test_a_feature_sees_no_more_rows_than_it_declares(bars, family, arguments):
    features, other = build({family: [arguments]}), bars.copy()
    other.iloc[: ROW - features.lookback + 1] *= 1.7
    other.iloc[ROW - features.lookback] = np.nan
    assert_same_rows(features.compute(other), features.compute(bars), ROW)


def test_a_feature_sees_no_future(bars, family, arguments):
    features, other = build({family: [arguments]}), bars.copy()
    other.iloc[ROW + 1 :] *= 1.7
    other.iloc[ROW + 7] = np.nan
    assert_same_rows(features.compute(other), features.compute(bars), slice(ROW + 1))


def test_a_feature_uses_the_oldest_row_it_declares(bars, family, arguments):
    if family in CLOCKS:
        return  # it reads one row, and of that the time
    features, bars = build({family: [arguments]}), bars.assign(funding_rate=bars["funding_rate"] + 1e-5)
    expected = features.compute(bars).iloc[ROW].to_numpy()
    found = [features.compute(other).iloc[ROW].to_numpy() for other in altered(bars, ROW - features.lookback + 1)]
    assert any((values != expected).any() for values in found)


def altered(bars: pd.DataFrame, row: int) -> Iterator[pd.DataFrame]:
    """The same bars with one row higher, lower, wider, or earlier."""
    for factors in (2.0, 0.5, {"high": 2.0, "low": 0.5}):
        other = bars.copy()
        other.iloc[row] = (other.iloc[row] * pd.Series(factors, bars.columns).fillna(1.0)) + 1e-3
        yield other
    yield bars.set_axis(bars.index.where(np.arange(len(bars)) != row, bars.index - pd.Timedelta("1s")))


def test_a_missing_row_makes_its_features_missing(bars, family, arguments):
    features, other = build({family: [arguments]}), bars.copy()
    other.iloc[ROW] = np.nan
    found, whole, end = features.compute(other), features.compute(bars), ROW + features.lookback
    assert_same_rows(found, whole, slice(ROW))
    assert_same_rows(found, whole, slice(end, None))
    if family not in CLOCKS:
        assert found.iloc[ROW].isna().all()
    if "timestamp" not in features.columns:  # of its oldest row it may need the time only, which is never missing
        assert found.iloc[end - 1].isna().any()


def test_no_number_is_infinite_where_bars_stand_still_or_nothing_trades(bars, family, arguments):
    features, other = build({family: [arguments]}), bars.copy()
    still = np.random.default_rng(0).random(len(bars)) < 0.5
    still[1_000:1_200] = True
    other[["open", "high", "low", "close"]] = np.column_stack([bars["close"].mask(still).ffill().bfill()] * 4)
    other.loc[still, ["volume", "taker_buy_volume", "depth", "spread"]] = 0.0
    assert np.isfinite(features.compute(other).to_numpy()[features.lookback - 1 :]).all()


def test_nothing_moves_nothing_trades_gives_neutral_numbers(family, arguments):
    if family in CLOCKS:
        return
    features = build({family: [arguments]})
    times = schema.from_epoch_ms(np.arange(features.lookback + 5) * 3_600_000)
    still = pd.DataFrame(0.1, index=times, columns=[name for name in features.columns if name != "timestamp"])
    still = still.assign(**dict.fromkeys({*AMOUNTS, "funding_rate", "book_imbalance"} & {*still.columns}, 0.0))
    if family != LEVEL:
        assert (features.latest(still) == {"rsi": 50.0, "money_flow": 0.5}.get(family, 0.0)).all()


def test_a_feature_has_no_scale(bars, family, arguments):
    features, cheap = build({family: [arguments]}), bars.copy()
    cheap[PRICES] *= 2.0**-30  # a power of two: not even rounding differs
    cheap[AMOUNTS] *= 2.0**20
    level = fractional_weights(*arguments).sum() if family == LEVEL else 0.0  # of this one a share stays, so the unit's logarithm too
    pd.testing.assert_frame_equal(features.compute(cheap) + level * 30 * np.log(2), features.compute(bars), rtol=1e-12, atol=1e-11)


MIRRORED = {  # family: sign of each part when the price is turned upside down, 1 / price
    "scaled_return": (-1,),
    "aroon": (-1,),
    "slope": (-1, 1),
    "on_balance_volume": (-1,),
    "volatility": (1,),
    "volatility_ratio": (1,),
    "parkinson": (1,),
    "garman_klass": (1,),
    "yang_zhang": (1,),
    "relative_volume": (1,),
}
NEARLY_MIRRORED = {  # averages of prices: not exact
    "returns": (-1,),
    "rsi": (-1,),
    "range_position": (-1,),
    "stochastic": (-1, -1),
    "cci": (-1,),
    "moving_average_distance": (-1,),
    "ema_distance": (-1,),
    "ma_cross": (-1,),
    "macd": (-1, -1, -1),
    "ichimoku": (-1, -1, -1),
    "atr": (1,),
    "bollinger": (-1,),
    "bollinger_width": (1,),
    "keltner": (-1,),
    "money_flow": (-1,),
    "vwap_distance": (-1,),
}


def mirror(bars: pd.DataFrame) -> pd.DataFrame:
    turned = 1 / bars[["open", "low", "high", "close"]].set_axis(["open", "high", "low", "close"], axis=1)
    return bars.assign(**turned)


@pytest.mark.parametrize("family", MIRRORED)
def test_upside_down(bars, spec, family):
    features = build({family: spec[family]})
    signs = MIRRORED[family] * len(spec[family])
    pd.testing.assert_frame_equal(features.compute(mirror(bars)), features.compute(bars) * signs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("family", NEARLY_MIRRORED)
def test_nearly_upside_down(bars, spec, family):
    features = build({family: spec[family]})
    quiet = bars.assign(**bars[["open", "high", "low", "close"]] ** 0.1)  # a tenth of each move: all kinds of averages nearly agree
    found, expected = features.compute(mirror(quiet)), features.compute(quiet)
    for name, sign in zip(features.names, NEARLY_MIRRORED[family] * len(spec[family]), strict=True):
        assert sign * found[name].corr(expected[name]) > 0.99, name


def test_wrong_parameters_are_refused_by_the_familys_name(family, arguments):
    for position, argument in enumerate(arguments):
        wrong = [None, True, -3] + [0, 2.5, "24"] * isinstance(argument, int)
        for value in wrong:
            with pytest.raises(UsageError, match=f"features.{family}: expected"):
                FAMILIES[family](*arguments[:position], value, *arguments[position + 1 :])
