"""Binance's shapes for the same facts on REST and websocket: decimals as text, klines, marks, trades, book tickers.

Source: developers.binance.com, USD-M futures, market data (REST) and websocket market streams.
"""

import numpy as np
import pandas as pd

from quantalpha.market.synthetic import FUNDING_MS
from quantalpha.perp import brackets_for
from quantalpha.perp.brackets import rates_and_amounts
from quantalpha.practice.book import seller_made
from quantalpha.practice.candles import BUY, BUY_QUOTE, CLOSE, COUNT, HIGH, LOW, OPEN, QUOTE, TRADES, VOLUME
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.tape import Instrument


def decimal(value: float, digits: int) -> str:
    """`value` with `digits` decimals, or with all that it takes for `float()` to give back the same bits."""
    text = f"{value:.{digits}f}"
    return text if float(text) == value else np.format_float_positional(value, unique=True)


def kline(open_time: int, end: int, row: np.ndarray, digits: tuple[int, int]) -> list:
    """One row of /klines."""
    price, lot = digits
    prices = [decimal(value, price) for value in row[: CLOSE + 1].tolist()]
    volume, quote, count, buy, buy_quote = row[VOLUME:].tolist()
    totals = [decimal(volume, lot), end - 1, decimal(quote, lot), int(count), decimal(buy, lot), decimal(buy_quote, lot), "0"]
    return [open_time, *prices, *totals]


def mark_kline(open_time: int, end: int, row: np.ndarray, digits: tuple[int, int]) -> list:
    """One row of /markPriceKlines: no volume; the number of trades is a count of seconds there, and to be ignored."""
    prices = [decimal(value, digits[0]) for value in row[: CLOSE + 1].tolist()]
    return [open_time, *prices, "0", end - 1, "0", (end - open_time) // 1000, "0", "0", "0"]


def kline_event(instrument: Instrument, interval: str, index: int, time: int) -> dict:
    """Bar `index` of `interval` as it stood at tape time `time`; closed once `time` has reached its end."""
    candles = instrument.last
    chart = candles.chart(interval)
    row, end = candles.standing(interval, index, time), int(chart.ends[index])
    price, lot = candles.digits
    trades = min(candles.trades_until(time), candles.trades_until(end - 1))
    return {
        "e": "kline", "E": time, "s": instrument.symbol,
        "k": {
            "t": int(chart.times[index]), "T": end - 1, "s": instrument.symbol, "i": interval,
            "f": int(chart.first[index]) * TRADES, "L": trades - 1,
            "o": decimal(row[OPEN], price), "c": decimal(row[CLOSE], price), "h": decimal(row[HIGH], price), "l": decimal(row[LOW], price),
            "v": decimal(row[VOLUME], lot), "n": int(row[COUNT]), "x": time >= end, "q": decimal(row[QUOTE], lot),
            "V": decimal(row[BUY], lot), "Q": decimal(row[BUY_QUOTE], lot), "B": "0",
        },
    }  # fmt: skip


def premium_index(instrument: Instrument, time: int) -> dict:
    """One entry of /premiumIndex. The rate is the last one settled."""
    mark, index = (decimal(candles.price(time), 8) for candles in (instrument.mark, instrument.index))
    return {
        "symbol": instrument.symbol, "markPrice": mark, "indexPrice": index, "estimatedSettlePrice": index,
        "lastFundingRate": last_rate(instrument, time), "interestRate": "0.00010000", "nextFundingTime": next_funding(time), "time": time,
    }  # fmt: skip


def mark_event(instrument: Instrument, time: int) -> dict:
    facts = premium_index(instrument, time)
    return {
        "e": "markPriceUpdate", "E": time, "s": instrument.symbol, "p": facts["markPrice"], "i": facts["indexPrice"],
        "P": facts["estimatedSettlePrice"], "r": facts["lastFundingRate"], "T": facts["nextFundingTime"],
    }  # fmt: skip


def last_rate(instrument: Instrument, time: int) -> str:
    """The funding rate settled last; 0 before the first settlement."""
    settled = instrument.settled(time)
    return decimal(float(instrument.funding_rates[settled - 1]) if settled else 0.0, 8)


def next_funding(time: int) -> int:
    return time - time % FUNDING_MS + FUNDING_MS


def funding(instrument: Instrument, index: int) -> dict:
    """One entry of /fundingRate."""
    return {
        "symbol": instrument.symbol, "fundingTime": int(instrument.funding_times[index]),
        "fundingRate": decimal(float(instrument.funding_rates[index]), 8), "markPrice": decimal(float(instrument.funding_marks[index]), 8),
    }  # fmt: skip


def interest(instrument: Instrument, time: int) -> dict:
    """One entry of /futures/data/openInterestHist: contracts in base currency, and their worth at the mark price."""
    held = instrument.open_interest(time)
    worth = decimal(round(held * instrument.mark.price(time), 8), 8)
    return {"symbol": instrument.symbol, "sumOpenInterest": decimal(held, 8), "sumOpenInterestValue": worth, "timestamp": time}


def bracket_rows(symbol: str, time: int) -> list[tuple[float, float, float, float]]:
    """(floor, cap, rate, amount) of the table of `perp.bracket_schedule` in force at `time`; the last one reaches to twice its floor."""
    table = brackets_for(symbol, pd.Timestamp(time, unit="ms"))
    _, amounts = rates_and_amounts(table)
    caps = [*(each.floor for each in table[1:]), 2 * max(table[-1].floor, 1.0)]
    return [(floor, cap, rate, amount) for (floor, rate), cap, amount in zip(table, caps, amounts.tolist())]


def brackets(symbol: str, time: int) -> dict:
    """One entry of /leverageBracket."""
    return {
        "symbol": symbol, "notionalCoef": 1.0,
        "brackets": [
            {
                "bracket": number, "initialLeverage": max(1, int(0.5 / rate)), "notionalCap": int(cap), "notionalFloor": int(floor),
                "maintMarginRatio": rate, "cum": round(amount, 8),
            }
            for number, (floor, cap, rate, amount) in enumerate(bracket_rows(symbol, time), 1)
        ],
    }  # fmt: skip


def agg_trade(instrument: Instrument, number: int) -> dict:
    """One entry of /aggTrades; every aggregate holds one trade, so its number is also the trade's."""
    candles = instrument.last
    bar, inside = divmod(number, TRADES)
    rows = candles.unfolded(bar)
    quantity = rows[inside, VOLUME] - (rows[inside - 1, VOLUME] if inside else 0.0)
    lot = instrument.lot_digits
    return {
        "a": number, "p": decimal(rows[inside, CLOSE], instrument.digits), "q": decimal(round(quantity, lot), lot),
        "f": number, "l": number, "T": candles.trade_time(number), "m": seller_made(candles, number),
    }  # fmt: skip


def trade_event(kind: str, instrument: Instrument, number: int) -> dict:
    """A message of `aggTrade`, or of the raw `trade` stream, which Binance serves without documenting it."""
    facts = agg_trade(instrument, number)
    head = {"e": kind, "E": facts["T"], "s": instrument.symbol}
    if kind == "aggTrade":
        return head | facts
    return head | {"t": number, "p": facts["p"], "q": facts["q"], "X": "MARKET", "m": facts["m"], "T": facts["T"]}


def book_top(exchange: Exchange, instrument: Instrument) -> dict[str, str]:
    """Best bid and ask, price and quantity."""
    book = exchange.book(instrument.symbol)
    (bid, bid_quantity), (ask, ask_quantity) = book.top(-1), book.top(1)
    lot = instrument.lot_digits
    return {
        "bidPrice": ticks(instrument, bid), "bidQty": decimal(bid_quantity, lot),
        "askPrice": ticks(instrument, ask), "askQty": decimal(ask_quantity, lot),
    }  # fmt: skip


def ticks(instrument: Instrument, price: int) -> str:
    """A price in whole ticks as text."""
    return f"{price / 10**instrument.digits:.{instrument.digits}f}"


def levels(instrument: Instrument, side: dict[int, float], prices) -> list[list[str]]:
    """[price, quantity] of `prices` (ticks); quantity 0 where the side holds nothing."""
    lot = instrument.lot_digits
    return [[ticks(instrument, price), decimal(side.get(price, 0.0), lot)] for price in prices]
