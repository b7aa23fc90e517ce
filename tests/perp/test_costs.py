"""Fees, slippage and stops: what they accept, how stress moves them, and a slippage model that knows only the past."""

import math
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.errors import DataError, UsageError
from quantalpha.perp import calibration
from quantalpha.perp.costs import CEILING, IMPACT, UNKNOWN_VOLATILITY, Costs, Slippage, Stops, window_sums
from quantalpha.perp.fees import FEES, fees_for
from quantalpha.schema import from_epoch_ms

HOUR = 3_600_000
MODEL = Slippage(0.0001, impact=0.5, latency_ms=500.0, window=24)
COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0003, liquidation=0.0125, delay=2)


def bars(n=200, seed=0, step=HOUR, volume=1e6):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.standard_normal(n) * 0.01))
    open_ = np.append(100.0, close[:-1])
    columns = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    return pd.DataFrame(columns | {"volume": volume / close}, index=from_epoch_ms(np.arange(n) * step))


def fraction(model, table, notional):
    base, impact = model.curves(table)
    return np.minimum(base + impact * np.sqrt(notional), CEILING)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Slippage(-0.0001), "slippage.half_spread"),
        (lambda: Slippage(0.0001, impact=math.nan), "slippage.impact"),
        (lambda: Slippage(0.0001, latency_ms=-1.0), "slippage.latency_ms"),
        (lambda: Slippage(0.0001, window=1), "slippage.window: expected a whole number of at least 2, found 1"),
        (lambda: Slippage(0.0001, window=24.0), "slippage.window"),
        (lambda: replace(COSTS, slippage=0.2), "costs.slippage"),
        (lambda: replace(COSTS, slippage="0.1"), "costs.slippage"),
        (lambda: replace(COSTS, delay=-1), "costs.delay"),
        (lambda: replace(COSTS, delay=1.0), "costs.delay"),
        (lambda: replace(COSTS, delay=True), "costs.delay"),
        (lambda: COSTS.stressed(-1.0), "factor"),
        (lambda: COSTS.stressed(1000.0), "costs.maker"),
        (lambda: Stops(trailing_stop=1.0), "stops.trailing_stop"),
        (lambda: Stops(trailing_stop=0.0), "stops.trailing_stop"),
        (lambda: Stops(max_bars=0), "stops.max_bars: expected a whole number of at least 1, found 0"),
        (lambda: Stops(max_bars=2.0), "stops.max_bars"),
        (lambda: fees_for("binanse"), "did you mean 'binance'"),
        (lambda: fees_for("bybit", "Supreme"), "did you mean 'Supreme VIP'"),
    ],
)
def test_refuses_what_makes_no_sense(build, words):
    with pytest.raises(UsageError, match=words):
        build()


@pytest.mark.parametrize("slippage", [0.0003, MODEL])
def test_stress_of_zero_is_free_and_of_one_changes_nothing(slippage):
    costs = replace(COSTS, slippage=slippage)
    free = costs.stressed(0.0)
    assert (free.maker, free.taker, free.liquidation, free.delay) == (0.0, 0.0, 0.0, 2)
    assert costs.stressed(1.0) == costs
    if isinstance(slippage, Slippage):
        assert not any(curve.any() for curve in free.slippage.curves(bars()))
    else:
        assert free.slippage == 0.0


@pytest.mark.parametrize(("factor", "maker"), [(0.0, 0.0), (0.5, -0.00005), (1.0, -0.0001), (1.5, -0.00005), (2.0, 0.0), (3.0, 0.0001)])
def test_stress_takes_a_rebate_away(factor, maker):
    assert replace(COSTS, maker=-0.0001).stressed(factor).maker == pytest.approx(maker, abs=1e-18)


@given(
    maker=st.floats(-0.005, 0.005), low=st.floats(1.0, 3.0), high=st.floats(1.0, 3.0),
    slippage=st.one_of(st.floats(0.0, 0.02), st.builds(Slippage, st.floats(0.0, 0.01), st.floats(0.0, 2.0), st.floats(0.0, 1e4))),
)  # fmt: skip
def test_more_stress_is_never_cheaper(maker, low, high, slippage):
    costs = replace(COSTS, maker=maker, slippage=slippage)
    milder, harder = costs.stressed(min(low, high)), costs.stressed(max(low, high))
    assert all(getattr(milder, name) <= getattr(harder, name) for name in ("maker", "taker", "liquidation"))
    if isinstance(slippage, Slippage):
        milder, harder = milder.slippage, harder.slippage
        assert all(getattr(milder, field.name) <= getattr(harder, field.name) for field in fields(Slippage))
    else:
        assert milder.slippage <= harder.slippage


def test_stress_scales_every_part_of_a_model():
    table = bars()
    np.testing.assert_allclose(fraction(MODEL.stressed(2.0), table, 1e4)[30:], 2 * fraction(MODEL, table, 1e4)[30:], rtol=1e-12)


def test_the_formula_by_hand():
    """Hourly moves of 1 % and 1e6 a bar: sigma = 0.01 sqrt(24) = 4.899 %, V = 24e6. An order of 240,000 is a hundredth of it: impact
    0.5 * 4.899 % * 0.1 = 0.2449 %; 864 ms are 1e-5 of a day: 4.899 % * sqrt(2 / pi) * sqrt(1e-5) = 0.01236 %; half spread 0.01 %."""
    table = bars(100)
    table["close"] = 100 * np.exp(0.01 * (np.arange(100) % 2))
    table["open"], table["volume"] = table["close"].shift(fill_value=table["close"].iloc[1]), 1e6 / table["close"]
    sigma = 0.01 * math.sqrt(24)
    expected = 0.0001 + sigma * math.sqrt(2 / math.pi) * math.sqrt(1e-5) + 0.5 * sigma * 0.1
    assert expected == pytest.approx(0.0001 + 0.0001236 + 0.002449, rel=1e-3)
    np.testing.assert_allclose(fraction(replace(MODEL, latency_ms=864.0), table, 240_000.0)[24:], expected, rtol=1e-12)


def test_the_first_bars_are_dear():
    """Row 0 knows nothing and costs the ceiling. Row 1 knows one bar of 1 % and 1e6 beside the imagined one: sigma^2 = (0.01^2 +
    0.1^2 / 24) / (2 / 24), V = 1e6 / (2 / 24)."""
    table = bars(50)
    table.iloc[0, table.columns.get_loc("close")] = 100 * math.exp(0.01)
    table.iloc[0, table.columns.get_loc("volume")] = 1e6 / table["close"].iloc[0]
    base, impact = Slippage(0.0, impact=1.0, window=24).curves(table)
    assert base[0] == CEILING and impact[0] == 0.0 and not base[1:].any()
    sigma, volume = math.sqrt((1e-4 + UNKNOWN_VOLATILITY**2 / 24) * 12), 12e6
    assert impact[1] == pytest.approx(sigma / math.sqrt(volume), rel=1e-12)
    assert sigma > 0.07


def test_latency_charges_the_mean_absolute_move():
    moves = np.abs(np.random.default_rng(0).standard_normal(1_000_000))
    assert moves.mean() == pytest.approx(math.sqrt(2 / math.pi), rel=2e-3)


def test_four_times_the_volume_halves_the_impact_and_prices_do_not_matter():
    table = bars()
    base, impact = MODEL.curves(table)
    liquid_base, liquid_impact = MODEL.curves(table.assign(volume=table["volume"] * 4))
    np.testing.assert_allclose(liquid_impact, impact / 2, rtol=1e-12)
    np.testing.assert_array_equal(liquid_base, base)
    scaled = table.assign(**{name: table[name] * 1000 for name in ("open", "high", "low", "close")}, volume=table["volume"] / 1000)
    for curve, expected in zip(MODEL.curves(scaled), (base, impact)):
        np.testing.assert_allclose(curve, expected, rtol=1e-9)


def test_quote_volume_is_preferred_where_it_is_known():
    table = bars()
    known = (table["close"] * table["volume"]).where(np.arange(len(table)) % 3 > 0)
    for curve, expected in zip(MODEL.curves(table.assign(volume=7.0, quote_volume=known.fillna(7.0 * table["close"]))), MODEL.curves(
        table.assign(volume=np.where(known.isna(), 7.0, table["volume"]), quote_volume=known))):  # fmt: skip
        np.testing.assert_allclose(curve, expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(cut=st.integers(0, 99), window=st.integers(2, 40), seed=st.integers(0, 1000), gap=st.booleans())
def test_a_row_knows_only_earlier_bars(cut, window, seed, gap):
    """Another future from bar `cut` on, its own bar included, changes no row up to `cut`; nor does cutting the table there."""
    table = bars(100, seed)
    table = table.drop(table.index[40:45]) if gap else table
    cut = min(cut, len(table) - 1)
    other = table.copy()
    other.iloc[cut:] = bars(100, seed + 1).to_numpy()[cut : len(table)] * 3
    model = replace(MODEL, window=window)
    for curve, changed, shorter in zip(model.curves(table), model.curves(other), model.curves(table.iloc[: cut + 1])):
        np.testing.assert_array_equal(changed[1 : cut + 1], curve[1 : cut + 1])
        np.testing.assert_allclose(shorter[: cut + 1], curve[: cut + 1], rtol=1e-14)


def test_the_trailing_window_gives_the_same_last_row():
    table = bars(300).drop(bars(300).index[100:110])
    for end in range(60, len(table), 7):
        for curve, trailing in zip(MODEL.curves(table.iloc[:end]), MODEL.curves(table.iloc[end - MODEL.window - 2 : end])):
            assert trailing[-1] == pytest.approx(curve[-1], rel=1e-13)


def test_a_window_without_volume_costs_the_ceiling():
    table = bars(200)
    table.iloc[50:120, table.columns.get_loc("volume")] = 0.0
    base, impact = MODEL.curves(table)
    assert np.isfinite(base).all() and np.isfinite(impact).all() and (base <= CEILING).all()
    dead = np.zeros(200, bool)
    dead[0], dead[74:121] = True, True  # after 24 bars without volume, to the first bar after the last of them
    np.testing.assert_array_equal(base == CEILING, dead)
    assert not impact[dead].any()
    assert (replace(MODEL, impact=0.0).curves(table)[0] < CEILING).all()


def test_one_bar_is_enough_to_ask():
    base, impact = MODEL.curves(bars(1))
    assert base[0] == CEILING and impact[0] == 0.0


@given(
    values=st.lists(st.one_of(st.just(0.0), st.floats(0.0, 1e12)), min_size=1, max_size=60).map(np.array), window=st.integers(2, 70)
)  # fmt: skip
def test_window_sums_are_the_sums(values, window):
    expected = [math.fsum(values[max(i - window, 0) : i]) for i in range(values.size)]
    np.testing.assert_allclose(window_sums(values, window), expected, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("venue", FEES)
def test_higher_tiers_never_pay_more(venue):
    rates = np.array(list(FEES[venue].values()))
    assert (np.diff(rates, axis=0) <= 0.0).all() and (rates[:, 0] <= rates[:, 1]).all() and (rates >= 0.0).all()
    maker, taker = fees_for(venue)
    Costs(maker, taker, slippage=0.0, liquidation=0.0)


def test_base_fees_are_the_published_ones():
    assert fees_for("binance") == (0.0002, 0.0005)
    assert fees_for("bybit") == (0.0002, 0.00055)


def times(milliseconds):
    return from_epoch_ms(np.asarray(milliseconds))


def test_half_spread_is_weighted_by_time():
    """1 bp for 9 s, 6 bp for 1 s: 1.5 bp; the last quote stood for no known time."""
    half = np.array([0.0001, 0.0006, 0.5])
    ticker = pd.DataFrame({"bid": 100 * (1 - half), "ask": 100 * (1 + half)}, index=times([0, 9_000, 10_000]))
    assert calibration.half_spread(ticker) == pytest.approx(0.00015, rel=1e-12)
    model = Slippage.calibrated(ticker, volatility=0.03, daily_volume=1e9, latency_ms=50.0)
    assert model == Slippage(calibration.half_spread(ticker), IMPACT, 50.0)


def book(coefficient, levels=2000, step=500.0, snapshots=3, depth=1.0):
    """Snapshots whose average cost of notional N is coefficient * sqrt(N): the price reached at N is then 1.5 times that away."""
    reached = 1.5 * coefficient * np.sqrt(step * (np.arange(levels) + 0.5))
    reached[0] = 0.0  # the best level itself is free
    columns = {}
    for side, sign in (("bid", -1.0), ("ask", 1.0)):
        for k in range(levels):
            columns[f"{side}_px_{k + 1}"], columns[f"{side}_sz_{k + 1}"] = 100 * (1 + sign * reached[k]), depth * step / 100
    return pd.DataFrame(columns, index=range(snapshots))


def test_walking_a_square_root_book_finds_its_coefficient():
    volatility, volume = 0.04, 1e10
    found = calibration.walked_impact(book(0.3 * volatility / math.sqrt(volume)), volatility, volume)
    assert found == pytest.approx(0.3, rel=0.01)


def test_flow_finds_the_coefficient_it_was_made_with():
    rng = np.random.default_rng(0)
    n, volatility, volume = 20_000, 0.04, 1e10
    flow = rng.standard_normal(n) * 1e6
    moves = 0.8 * volatility * np.sign(flow) * np.sqrt(np.abs(flow) / volume) + rng.standard_normal(n) * 1e-4
    price = 100 * np.exp(np.cumsum(moves))
    trades = pd.DataFrame({"price": price, "quantity": flow / price}, index=times(np.arange(n) * 10_000 + 5_000))
    assert calibration.flow_impact(trades, volatility, volume) == pytest.approx(0.8, rel=0.02)


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda: calibration.half_spread(pd.DataFrame({"bid": [2.0, 2.0], "ask": [1.0, 1.0]}, index=times([0, 1]))), "0 < bid <= ask"),
        (lambda: calibration.half_spread(pd.DataFrame({"bid": [1.0, 1.0], "ask": [2.0, 2.0]}, index=times([1, 0]))), "in order"),
        (lambda: calibration.walked_impact(pd.DataFrame({"a": [1.0]}), 0.1, 1e9), "bid_px_1"),
        (lambda: calibration.walked_impact(book(1e-7, levels=2, step=1.0), 0.1, 1e9), "record more levels"),
        (lambda: calibration.flow_impact(pd.DataFrame({"price": [1.0], "quantity": [1.0]}, index=times([0])), 0.1, 1e9), "several times"),
    ],
)
def test_calibration_refuses_bad_records(measure, words):
    with pytest.raises(DataError, match=words):
        measure()


@pytest.mark.real
@pytest.mark.parametrize(("symbol", "session"), [("BTCUSDT", "20230404"), ("BTCUSDT", "20240808"), ("ETHUSDT", "20240808")])
def test_recorded_books_bracket_the_default(shared_data, symbol, session):
    """The displayed book is cheaper than IMPACT, and the flow of the same minutes within a fifth of it."""

    def recorded(name, clock):
        chosen = [("market", "==", "um"), ("symbol", "==", symbol), ("session", "==", session)]
        rows = pd.read_parquet(shared_data / f"lob_binance_{name}.parquet", filters=chosen)
        return rows.set_index(times(rows[clock].astype("int64"))).sort_index(kind="stable")

    days = pd.read_parquet(shared_data / "binance_um_universe_1d.parquet", filters=[("symbol", "==", symbol)]).set_index("timestamp")
    before = days.sort_index().loc[: pd.Timestamp(session, tz="UTC") - pd.Timedelta("1d")].tail(11)
    day = {
        "volatility": float(np.sqrt((np.log(before["close"]).diff().dropna() ** 2).mean())),
        "daily_volume": float(before["quote_volume"].tail(10).mean()),
    }
    ticker, levels, trades = recorded("bookticker", "ts_exch_ms"), recorded("l2_top10", "ts_exch_ms"), recorded("trades", "ts_trade_ms")
    trades = trades[trades["order_type"] != "INSURANCE_FUND"]
    trades = trades.assign(quantity=trades["qty"] * np.where(trades["is_buyer_maker"], -1.0, 1.0))
    walked, flow = calibration.walked_impact(levels, **day), calibration.flow_impact(trades, **day)
    model = Slippage.calibrated(ticker, levels, trades, **day)
    print(f"{symbol} {session}: half spread {1e4 * model.half_spread:.4f} bp, walked {walked:.3f}, flow {flow:.3f}")
    assert 5e-7 < model.half_spread < 5e-6
    assert 0.05 < walked < 0.2
    assert flow == pytest.approx(IMPACT, rel=0.2) and model.impact == flow
