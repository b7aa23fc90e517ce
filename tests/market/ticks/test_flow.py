"""Flow of several levels, spreads of trades, and the law that live equals batch."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.errors import DataError, UsageError
from quantalpha.market.orderbook import bars_from_book, level_flows, order_flow_imbalance, quotes_of
from quantalpha.market.ticks.book import Book
from quantalpha.market.ticks.flow import CHUNK, Flow
from quantalpha.market.ticks.messages import FETCHED, Depth, Quote, Trade
from quantalpha.market.ticks.trades import flow_bars, trade_spreads

SECOND = 1_000
QUOTES = ["bid", "bid_qty", "ask", "ask_qty"]


def index(times) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(np.asarray(times), unit="ms", utc=True), name="timestamp")


def random_book(rows: int, levels: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    bid = 1_000 + np.cumsum(rng.integers(-1, 2, rows) * (rng.random(rows) < 0.3)).astype(float)
    columns = {}
    for level in range(1, levels + 1):
        columns |= {f"bid_{level}": bid - level, f"bid_qty_{level}": rng.uniform(1, 9, rows)}
        columns |= {f"ask_{level}": bid + level, f"ask_qty_{level}": rng.uniform(1, 9, rows)}
    return pd.DataFrame(columns, index=index(np.cumsum(rng.exponential(40, rows)).astype(int)))


def random_trades(book: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed + 1)
    times = np.sort(rng.integers(0, book.index.asi8.max() * (1 if book.index.unit == "ms" else 1e-6) + 1, rows))
    side = rng.choice([-1, 1], rows)
    columns = {"price": 1_000 + side * rng.uniform(0, 3, rows), "qty": rng.uniform(0.1, 5, rows), "side": side}
    return pd.DataFrame(columns, index=index(times))


def best(book: pd.DataFrame) -> pd.DataFrame:
    return book.rename(columns={f"{name}_1": name for name in ("bid", "bid_qty", "ask", "ask_qty")})[["bid", "bid_qty", "ask", "ask_qty"]]


def test_the_first_level_is_the_best_quote():
    book = random_book(500, 5, 0)
    flows = level_flows(book)
    assert list(flows) == [f"order_flow_imbalance_{level}" for level in range(1, 6)]
    np.testing.assert_array_equal(flows["order_flow_imbalance_1"], order_flow_imbalance(best(book)))
    for level in (2, 5):
        alone = book[[f"{name}_{level}" for name in QUOTES]].set_axis(QUOTES, axis=1)
        np.testing.assert_array_equal(flows[f"order_flow_imbalance_{level}"], order_flow_imbalance(alone))


def test_a_bid_in_a_new_best_place_pushes_every_level_down():
    rows = [(10, 5, 11, 4, 9, 3, 12, 2), (10.5, 1, 11, 4, 10, 5, 12, 2)]
    names = ["bid_1", "bid_qty_1", "ask_1", "ask_qty_1", "bid_2", "bid_qty_2", "ask_2", "ask_qty_2"]
    flows = level_flows(pd.DataFrame(rows, columns=names, index=index([0, 1]), dtype=float))
    assert flows.iloc[1].tolist() == [1.0, 5.0]


def test_columns_of_several_levels_by_hand():
    book = random_book(400, 3, 4)
    found = bars_from_book(book, SECOND)
    pd.testing.assert_frame_equal(found[list(bars_from_book(best(book), SECOND))], bars_from_book(best(book), SECOND))
    time = found.index[2]
    within = (book.index >= time) & (book.index < time + pd.Timedelta("1s"))
    inside, flows = book[within], level_flows(book)[within]
    quotes = quotes_of(inside, 3)
    waiting = (quotes[:, 1] + quotes[:, 3]) / 2
    assert found.loc[time, "order_flow_imbalance_2"] == pytest.approx(flows["order_flow_imbalance_2"].sum())
    weights = waiting.mean(axis=0) / waiting.mean(axis=0).sum()
    assert found.loc[time, "weighted_order_flow_imbalance"] == pytest.approx((flows.sum().to_numpy() * weights).sum())
    assert found.loc[time, "quoted_spread"] == pytest.approx((inside["ask_1"] - inside["bid_1"]).mean())
    mid = (inside["bid_1"] + inside["ask_1"]) / 2
    slope = (quotes[:, 1].sum(axis=1) / (mid - inside["bid_3"]) + quotes[:, 3].sum(axis=1) / (inside["ask_3"] - mid)) / 2
    assert found.loc[time, "depth_slope"] == pytest.approx(slope.mean())


def test_a_level_that_is_not_there_has_no_flow():
    book = random_book(50, 2, 1)
    book.loc[book.index[10:20], ["bid_2", "bid_qty_2"]] = [np.nan, 0.0]
    flows = level_flows(book)["order_flow_imbalance_2"]
    assert np.isfinite(flows.iloc[1:]).all()


QUOTED = pd.DataFrame({"bid": [10.0, 11.0, 10.0], "bid_qty": 1.0, "ask": [12.0, 13.0, 11.0], "ask_qty": 1.0}, index=index([0, 100, 6_000]))


def test_spreads_by_hand():
    trades = pd.DataFrame({"price": [12.0, 13.0, 11.0, 5.0], "qty": 1.0, "side": [1, 1, -1, 1]}, index=index([50, 100, 150, 5_500]))
    found = trade_spreads(trades, QUOTED, horizon=SECOND)
    assert found["mid"].tolist() == [11, 11, 12, 12]  # the update at 100 is the second trade's consequence
    assert found["effective_spread"].tolist() == [2, 4, 2, -14]
    assert found["realised_spread"].tolist()[:3] == [0, 2, 2] and np.isnan(found["realised_spread"].iloc[3])
    np.testing.assert_allclose(found["price_impact"].iloc[:3], [2, 2, 0])
    early = trade_spreads(trades.set_axis(index([-9, -8, -7, -6])), QUOTED)
    assert early["effective_spread"].isna().all()


def test_what_comes_later_changes_no_spread():
    book, trades = best(random_book(2_000, 1, 7)), None
    trades = random_trades(book, 500, 7)
    whole = trade_spreads(trades, book, SECOND)
    for cut in (300, 900, 1_500):
        known = trade_spreads(trades[trades.index < book.index[cut]], book.iloc[: cut + 1], SECOND)
        told = known["realised_spread"].notna()
        pd.testing.assert_frame_equal(known[told], whole.loc[: known.index[-1]].iloc[: len(known)][told])


def live(book: pd.DataFrame, trades: pd.DataFrame, levels: int, every: int = 37) -> pd.DataFrame:
    """The same rows message by message, trades before updates of the same time; bars collected now and then."""
    flow, kept, found = Flow(SECOND, levels, SECOND), Book("X"), []
    updates = list(zip(book.index.as_unit("ms").asi8.tolist(), quotes_of(book, levels).tolist()))
    struck = zip(trades.index.as_unit("ms").asi8.tolist(), *(trades[name].tolist() for name in ("price", "qty", "side")))
    messages = [(t, 1, n, quotes) for n, (t, quotes) in enumerate(updates)] + [(t, 0, n, rest) for n, (t, *rest) in enumerate(struck)]
    for count, (time, is_update, number, content) in enumerate(sorted(messages, key=lambda message: message[:3])):
        if not is_update:
            price, qty, side = content
            flow.trade(Trade("X", time, time, number, price, qty, side))
        elif levels == 1:
            flow.quote(Quote("X", time, time, number, *(value[0] for value in content)))
        else:
            bids, asks = zip(*content[:2]), zip(*content[2:])
            kept.apply(Depth("X", time, time, number, number, number, list(bids), list(asks), FETCHED))
            flow.depth(kept)
        if count % every == 0:
            found.append(flow.closed())
    return pd.concat([*(table for table in found if len(table)), flow.closed()])


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([1, 4]), st.integers(2, 8 * CHUNK), st.integers(0, 300))
def test_live_equals_batch(seed, levels, rows, struck):
    book = random_book(rows, levels, seed)
    book = best(book) if levels == 1 else book
    trades = random_trades(book, struck, seed)
    batch = flow_bars(book, trades, SECOND, SECOND)
    pd.testing.assert_frame_equal(live(book, trades, levels), batch, check_freq=False, rtol=1e-12, atol=1e-11)


def test_a_hole_in_the_book_drops_the_bar_and_no_flow_crosses_it():
    book, flow = best(random_book(3_000, 1, 2)), Flow(SECOND)
    broken = book.index[1_500]
    for n, (time, row) in enumerate(zip(book.index.as_unit("ms").asi8.tolist(), book.to_numpy().tolist())):
        if n == 1_500:
            flow.lose()
        flow.quote(Quote("X", time, time, n, *row))
    found, whole = flow.closed(), bars_from_book(book, SECOND)
    missing = whole.index.difference(found.index)
    assert list(missing) == [broken.floor("s")]
    pd.testing.assert_frame_equal(found[list(whole)], whole.loc[found.index], check_freq=False, rtol=1e-12, atol=1e-11)


def test_updates_that_come_too_late_are_counted():
    flow = Flow(SECOND)
    for time in (0, 1_500, 1_400, 2_500):
        flow.quote(Quote("X", time, time, 1, 10.0, 1.0, 11.0, 1.0))
    flow.trade(Trade("X", 900, 900, 1, 10.0, 1.0, 1))
    assert flow.late == 2 and len(flow.closed()) == 1 and flow.closed().empty


def test_refusals():
    with pytest.raises(UsageError, match="Flow: expected a bar length"):
        Flow(0.5)
    with pytest.raises(DataError, match=r"trades: missing column\(s\) side"):
        trade_spreads(QUOTED.assign(price=1.0, qty=1.0), QUOTED)


@pytest.mark.real
def test_deeper_levels_explain_more_of_the_recorded_moves(shared_data):
    table = pd.read_parquet(shared_data / "lob_binance_l2_top10.parquet").query("market == 'um' and symbol == 'ETHUSDT'")
    table = table.rename(columns=lambda name: name.replace("_px_", "_").replace("_sz_", "_qty_"))
    book = table.set_index(pd.to_datetime(table["ts_exch_ms"], unit="ms", utc=True).rename("timestamp"))
    bars = bars_from_book(book, SECOND)
    moves, flows = bars["mid"].diff().iloc[1:], bars.filter(regex=r"order_flow_imbalance_\d").iloc[1:]
    fit = [np.linalg.lstsq(np.c_[np.ones(len(moves)), flows.iloc[:, :n]], moves, rcond=None)[1][0] for n in (1, 5)]
    assert fit[1] < 0.9 * fit[0] < 0.9 * ((moves - moves.mean()) ** 2).sum() and len(bars) > 300
