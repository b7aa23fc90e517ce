"""The seeded tape: the same everywhere, sound, shaped like a perpetual market, fair at edge 0 and predictable by what `edge` says."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from quantalpha import config, schema
from quantalpha.errors import UsageError
from quantalpha.market import synthetic
from quantalpha.market.synthetic import FUNDING_MS, synthetic_bars


def params(**changes) -> config.Synthetic:
    given = {"seed": 11, "start": "2021-01-01", "bars": 30_000, "timeframe": "1h", "edge": {"BTCUSDT": 0.0, "ETHUSDT": 0.0}}
    return config.Synthetic.model_validate(given | changes)


def fingerprint(bars: pd.DataFrame) -> int:
    return int(pd.util.hash_pandas_object(bars).sum())


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return synthetic_bars("BTCUSDT", params())


def test_another_process_makes_the_same_bits(bars):
    code = (
        "import pandas as pd\nfrom quantalpha import config\nfrom quantalpha.market.synthetic import synthetic_bars\n"
        "given = {'seed': 11, 'start': '2021-01-01', 'bars': 30000, 'timeframe': '1h', 'edge': {'BTCUSDT': 0.0}}\n"
        "bars = synthetic_bars('BTCUSDT', config.Synthetic.model_validate(given))\nprint(int(pd.util.hash_pandas_object(bars).sum()))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"})
    assert int(made.stdout) == fingerprint(bars)


@pytest.mark.parametrize(("symbol", "changes"), [("ETHUSDT", {}), ("BTCUSDT", {"seed": 12})])
def test_symbol_and_seed_make_other_tapes(bars, symbol, changes):
    other = synthetic_bars(symbol, params(**changes))
    assert np.corrcoef(*bars["close"].pct_change().align(other["close"].pct_change(), join="inner"))[0, 1] != 1
    assert fingerprint(other) != fingerprint(bars)


@pytest.mark.parametrize("frame", ["1m", "15m", "1h", "4h", "1d"])
def test_bars_are_sound_on_every_timeframe(frame):
    made = synthetic_bars("ETHUSDT", params(bars=3_000, timeframe=frame))
    schema.check_bars(made)
    assert str(made.index.dtype) == schema.INDEX_DTYPE
    assert list(made) == [*schema.REQUIRED, "quote_volume", "trades", "taker_buy_volume", "mark", "funding_rate"]
    assert {str(kind) for kind in made.dtypes} == {"float64"}
    assert np.isfinite(made.to_numpy()).all()
    assert (made["taker_buy_volume"] < made["volume"]).all()


def test_prices_are_whole_ticks_and_opens_follow_closes(bars):
    prices = bars[["open", "high", "low", "close"]].to_numpy()
    assert np.array_equal(np.round(prices, 1), prices)
    together = np.diff(schema.epoch_ms(bars.index)) == 3_600_000
    assert (np.abs(prices[1:, 0] - prices[:-1, 3])[together] < 0.11).all()
    assert (np.abs(bars["mark"] / bars["close"] - 1) < 1e-3).all()


def test_some_bars_are_missing_but_few(bars):
    missing = 30_000 - len(bars)
    assert 6 <= missing <= 36
    assert bars.index[0] == pd.Timestamp("2021-01-01", tz="UTC")
    assert bars.index[-1] == pd.Timestamp("2021-01-01", tz="UTC") + pd.Timedelta(hours=29_999)


def test_returns_look_like_a_crypto_market(bars):
    returns = bars["close"].pct_change().dropna()
    assert 0.6 < returns.std() * np.sqrt(8760) < 0.8
    assert returns.kurt() > 3
    assert returns.abs().autocorr(24) > 0.08
    assert (returns < -0.12).sum() == 1
    size = returns.abs().groupby(returns.index.hour).mean()
    assert size[13:18].mean() > 1.3 * size[1:6].mean()
    volume = bars["volume"].groupby(bars.index.weekday).mean()
    assert volume[[5, 6]].max() < volume[:5].min()


def test_funding_is_settled_every_eight_hours_and_follows_crowding(bars):
    paid = bars["funding_rate"]
    regular = paid.index.hour % 8 == 0
    assert (paid[regular] != 0).mean() > 0.95
    gaps = pd.Series(np.diff(schema.epoch_ms(bars.index), prepend=0), bars.index) > 3_600_000
    assert (paid[~regular & ~gaps.to_numpy()] == 0).all()
    assert paid[regular].abs().median() == pytest.approx(1e-4)
    day = bars["close"].pct_change(24)[regular]
    assert day.corr(paid[regular]) > 0.2


def test_settlement_in_a_gap_is_paid_by_the_next_row():
    opens = np.arange(48) * 3_600_000
    premium = np.full(48, 0.001)
    whole = synthetic._funding(opens, 3_600_000, premium, opens)
    rows = np.delete(opens, range(6, 20))  # the settlements at 08:00 and 16:00 find no bar
    gapped = synthetic._funding(opens, 3_600_000, premium, rows)
    assert whole[8] == whole[16] == pytest.approx(0.0005)
    assert gapped[6] == pytest.approx(0.001)
    assert gapped.sum() == pytest.approx(whole.sum())


def test_daily_rows_sum_three_settlements():
    opens = np.arange(5) * 3 * FUNDING_MS
    rates = synthetic._funding(opens, 3 * FUNDING_MS, np.full(5, 0.002), opens)
    assert rates[2:] == pytest.approx(3 * 0.0015)


def features(bars: pd.DataFrame) -> pd.DataFrame:
    """What a reader of the past would try, scaled by volatility where it is a return."""
    close, returns = bars["close"], bars["close"].pct_change()
    sigma = returns.rolling(48).std()
    columns = {f"r{n}": close.pct_change(n) / sigma / np.sqrt(n) for n in (1, 4, 24, 72)}
    columns["average"] = (close / close.rolling(24).mean() - 1) / sigma
    columns["volume"] = np.log(bars["volume"] / bars["volume"].rolling(24).mean())
    columns["funding"] = bars["funding_rate"].rolling(9).sum()
    columns["sigma"] = sigma
    return pd.DataFrame(columns)


def next_return(bars: pd.DataFrame) -> pd.Series:
    returns = bars["close"].pct_change()
    return (returns / returns.rolling(48).std()).clip(-6, 6).shift(-1)


def test_fair_market_is_unpredictable():
    worst, signs, rows = [], [], 0
    for seed in range(12):
        bars = synthetic_bars("BTCUSDT", params(seed=seed))
        table = features(bars).assign(next=next_return(bars)).dropna()
        rows += len(table)
        worst.append(table.corr(method="spearman")["next"].drop("next") * np.sqrt(len(table)))
        signs.append((table["next"] > 0).sum() - (table["next"] < 0).sum())
    scores = pd.concat(worst, axis=1).sum(axis=1) / np.sqrt(12)  # standard normal if nothing is there
    assert scores.abs().max() < 3.5
    assert abs(sum(signs)) / np.sqrt(rows) < 3.5


@pytest.mark.parametrize("edge", [0.005, 0.02, 0.1])
def test_edge_is_the_predictable_share_of_variance(edge):
    """The same shocks with and without the edge differ by the drift alone: r(edge) - sqrt(1 - edge) r(0) = -sqrt(edge) sigma c."""
    shares = []
    for seed in range(6):
        fair, tilted = (synthetic_bars("BTCUSDT", params(seed=seed, edge={"BTCUSDT": e}))["close"].pct_change().dropna() for e in (0, edge))
        normal = fair.abs() < 0.1  # the crash and clipped bars are no part of the law
        drift = (tilted - np.sqrt(1 - edge) * fair)[normal]
        shares.append(drift.var() / tilted[normal].var())
    assert np.mean(shares) == pytest.approx(edge, rel=0.2)


def test_edge_is_visible_in_the_past_and_lasts_about_a_day():
    bars = synthetic_bars("BTCUSDT", params(edge={"BTCUSDT": 0.02}))
    table = features(bars).assign(next=next_return(bars)).dropna()
    half = len(table) // 2
    x = (table.drop(columns="next") - table.drop(columns="next").iloc[:half].mean()).to_numpy()
    y = table["next"].to_numpy()
    weights = np.linalg.lstsq(x[:half], y[:half], rcond=None)[0]
    forecast = x[half:] @ weights
    assert np.corrcoef(forecast, y[half:])[0, 1] * np.sqrt(half) > 4
    day_ahead = pd.Series(y).rolling(24).sum().shift(-23).to_numpy()[half:]
    known = np.isfinite(day_ahead)
    assert np.corrcoef(forecast[known], day_ahead[known])[0, 1] > np.corrcoef(forecast, y[half:])[0, 1]


def test_unknown_symbol_names_the_nearest():
    with pytest.raises(UsageError, match=r"no synthetic tape for 'BTCUSD'; did you mean 'BTCUSDT'\?"):
        synthetic_bars("BTCUSD", params())
