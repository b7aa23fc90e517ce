"""What can be played: files with and without the optional columns, real recordings bit for bit, and clear refusals of the rest."""

import json

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.practice import Tape, binance
from quantalpha.practice.candles import CLOSE, HIGH, LOW, OPEN, TRADES, VOLUME, unfold
from quantalpha.practice.clock import Clock
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.payloads import decimal
from quantalpha.practice.query import Query

from .support import HOUR, Wall

PLAIN = ["open", "high", "low", "close", "volume"]


def ask(tape, name, now=None, **values):
    exchange = Exchange(tape, Clock(tape.end if now is None else now, tape.end, 0.0, Wall()))
    return binance.ENDPOINTS[f"/fapi/v1/{name}"](exchange, Query({key: str(value) for key, value in values.items()}, exchange))[0]


def saved(bars, path):
    bars.to_parquet(path)
    return path


def test_a_file_without_the_optional_columns_plays(frames, tmp_path):
    tape = Tape.from_file(saved(frames["ETHUSDT"][PLAIN], tmp_path / "my_ETHUSDC_1h.parquet"))
    assert list(tape.instruments) == ["ETHUSDC"]
    contract = ask(tape, "exchangeInfo")["symbols"][0]
    assert (contract["baseAsset"], contract["quoteAsset"]) == ("ETH", "USDC")
    assert ask(tape, "fundingRate", symbol="ETHUSDC") == []
    assert ask(tape, "premiumIndex", symbol="ETHUSDC")["lastFundingRate"] == "0.00000000"
    price, mark = (ask(tape, name, symbol="ETHUSDC", interval="1h", limit=5) for name in ("klines", "markPriceKlines"))
    assert [[float(value) for value in row[1:5]] for row in price] == [[float(value) for value in row[1:5]] for row in mark]


def test_a_file_names_its_symbol_by_column_name_or_not_at_all(frames, tmp_path):
    both = pd.concat([bars[PLAIN].assign(symbol=symbol) for symbol, bars in frames.items()]).reset_index()
    assert list(Tape.from_file(saved(both, tmp_path / "panel.parquet")).instruments) == ["BTCUSDT", "ETHUSDT"]
    assert list(Tape.from_file(saved(frames["ETHUSDT"][PLAIN], tmp_path / "bars.parquet")).instruments) == ["BTCUSDT"]


def test_funding_of_a_file_adds_up_to_its_column(frames, tmp_path):
    bars = frames["BTCUSDT"].drop(frames["BTCUSDT"].index[[8, 9, 24]])  # settlements find no bar of their own
    tape = Tape.from_file(saved(bars.assign(funding_rate=1e-4 * (bars.index.hour % 8 == 0)), tmp_path / "x.parquet"))
    instrument = tape.instruments["BTCUSDT"]
    assert (np.diff(instrument.funding_times) >= 8 * HOUR).all()
    rows = np.searchsorted(instrument.times, instrument.funding_times)
    back = np.bincount(rows, instrument.funding_rates, len(bars))
    assert back == pytest.approx((1e-4 * (bars.index.hour % 8 == 0)).astype(float))


@pytest.mark.real
@pytest.mark.parametrize("name", ["binance_spot_BTCUSDT_1h", "binance_um_ETHUSDT_5m"])
def test_real_bars_come_back_bit_for_bit(shared_data, name):
    bars = pd.read_parquet(shared_data / f"{name}.parquet")
    tape = Tape.from_file(shared_data / f"{name}.parquet")
    symbol = next(iter(tape.instruments))
    assert symbol in name
    frame = name.rsplit("_", 1)[1]
    served = json.loads(json.dumps(ask(tape, "klines", symbol=symbol, interval=frame, startTime=tape.start, limit=1500)))
    expected = bars.set_index("timestamp") if "timestamp" in bars else bars
    got = np.array([[float(value) for value in row[1:6]] for row in served])
    assert np.array_equal(got, expected[PLAIN].to_numpy(float)[:1500])


@pytest.mark.parametrize("value", [0.1, 1e-8, 30000.1, 0.1 + 0.2, 123456789.123456789, 1e22, 5e-324, 0.0])
def test_decimals_are_plain_and_exact(value):
    text = decimal(value, 3)
    assert float(text) == value
    assert "e" not in text.lower()


def test_unfolded_bar_touches_its_corners_and_ends_as_recorded():
    row = np.array([10.0, 12.5, 9.5, 11.0, 100.0, 1050.0, 77.0, 40.0, 420.0])
    rows = unfold(row, (1, 3), np.random.default_rng(1))
    assert rows.shape == (TRADES, 9)
    assert (rows[:, OPEN] == 10).all()
    assert rows[0, [HIGH, LOW, CLOSE]].tolist() == [10.0, 10.0, 10.0]
    assert rows[:, CLOSE].max() == 12.5 and rows[:, CLOSE].min() == 9.5
    assert (np.diff(rows[:, VOLUME:], axis=0) >= 0).all()
    assert np.array_equal(rows[-1], row)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda bars: bars.drop(columns="close"), "missing column.* close"),
        (lambda bars: bars.tz_localize(None), "expected a UTC DatetimeIndex"),
        (lambda bars: bars.reset_index(drop=True), "expected a UTC DatetimeIndex"),
        (lambda bars: bars.iloc[::-1], "strictly increasing"),
        (lambda bars: bars.assign(high=bars["low"] - 1), "impossible bar"),
        (lambda bars: bars.assign(volume=np.nan), "'volume' must hold finite numbers"),
        (lambda bars: bars.assign(mark=np.inf), "'mark' must hold finite numbers"),
        (lambda bars: bars.assign(close="a"), "'close' must hold finite numbers"),
        (lambda bars: bars.iloc[:0], "expected bars, found none"),
        (lambda bars: bars.iloc[:1], "two bars or more"),
        (lambda bars: bars.set_index(bars.index + pd.Timedelta(minutes=1)), "on one grid"),
        (lambda bars: bars.assign(**{name: bars[name] * np.pi for name in PLAIN}), "ticks of 1e-8"),
        (lambda bars: bars.assign(symbol="BTCEUR"), "ends in USDT"),
    ],
)
def test_bad_tapes_are_refused_by_name(frames, tmp_path, spoil, message):
    path = saved(spoil(frames["BTCUSDT"].iloc[:200]), tmp_path / "tape.parquet")
    with pytest.raises(DataError, match=message):
        Tape.from_file(path)


def test_truncated_and_missing_files_are_refused(frames, tmp_path):
    path = saved(frames["BTCUSDT"], tmp_path / "tape.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="tape.parquet: not a readable parquet file"):
        Tape.from_file(path)
    with pytest.raises(UsageError, match="expected 'synthetic' or a parquet file"):
        Tape.from_file(tmp_path / "none.parquet")


def test_symbols_must_share_a_bar_length(frames):
    with pytest.raises(DataError, match="one bar length"):
        Tape({"BTCUSDT": frames["BTCUSDT"], "ETHUSDT": frames["ETHUSDT"].iloc[::4]})


def test_a_symbol_is_unknown_before_its_first_bar(frames):
    tape = Tape({"BTCUSDT": frames["BTCUSDT"], "ETHUSDT": frames["ETHUSDT"].iloc[500:]})
    listed = [entry["symbol"] for entry in ask(tape, "exchangeInfo", now=tape.start)["symbols"]]
    assert listed == ["BTCUSDT"]
    assert len(ask(tape, "premiumIndex")) == 2


def test_a_waiting_clock_starts_once_and_from_where_it_stood():
    from quantalpha.practice.clock import Clock

    wall = Wall()
    clock = Clock(1_000, 10_000_000, 3600.0, wall, waiting=True)
    wall.seconds += 5.0
    assert clock.now() == 1_000
    clock.start()
    wall.seconds += 1.0
    clock.start()
    assert clock.now() == 1_000 + 3_600_000


def test_a_file_with_unknown_marks_plays_with_the_price_in_their_place(frames, tmp_path):
    bars = frames["BTCUSDT"].copy()
    bars.loc[bars.index[5:8], "mark"] = np.nan
    tape = Tape.from_file(saved(bars, tmp_path / "BTCUSDT.parquet"))
    played = tape.instruments["BTCUSDT"].mark.rows[:, 3]
    assert np.array_equal(played[5:8], bars["close"].to_numpy()[5:8]) and np.isfinite(played).all()
