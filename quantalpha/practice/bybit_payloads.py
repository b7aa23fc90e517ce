"""Bybit's shapes for the same facts on REST and websocket: decimals as text, klines, tickers, trades, instruments, risk limits.

Source: bybit-exchange.github.io/docs/v5, market (REST) and websocket public.
"""

from uuid import NAMESPACE_URL, uuid5

import numpy as np

from quantalpha.market.synthetic import FUNDING_MS
from quantalpha.practice.book import best_bid, price_move, seller_made
from quantalpha.practice.bybit_query import INTERVALS
from quantalpha.practice.candles import CLOSE, HIGH, LOW, OPEN, QUOTE, VOLUME
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.payloads import agg_trade, book_top, bracket_rows, decimal, last_rate, next_funding, ticks
from quantalpha.practice.tape import Instrument
from quantalpha.timeframe import UNITS

NAMES = {bar: name for name, bar in INTERVALS.items()}
MOST_LEVERAGE = 100.0
MOST_LIMIT, MOST_MARKET = 1190, 500  # base currency, of one order
LEAST_NOTIONAL = 5


def kline(open_time: int, row: np.ndarray, digits: tuple[int, int]) -> list[str]:
    """One row of /kline: start, open, high, low, close, volume (base currency), turnover (quote currency)."""
    return [*price_kline(open_time, row, digits), decimal(row[VOLUME], digits[1]), decimal(row[QUOTE], digits[1])]


def price_kline(open_time: int, row: np.ndarray, digits: tuple[int, int]) -> list[str]:
    """One row of /mark-price-kline and /index-price-kline: start, open, high, low, close."""
    return [str(open_time), *(decimal(value, digits[0]) for value in row[: CLOSE + 1].tolist())]


def kline_event(instrument: Instrument, interval: str, index: int, time: int) -> dict:
    """Bar `index` of `interval` as it stood at tape time `time`; confirmed once `time` has reached its end."""
    candles = instrument.last
    chart, name = candles.chart(interval), NAMES[interval]
    row, end = candles.standing(interval, index, time), int(chart.ends[index])
    price, lot = candles.digits
    trade = min(candles.trades_until(time), candles.trades_until(end - 1)) - 1
    bar = {
        "start": int(chart.times[index]), "end": end - 1, "interval": name,
        "open": decimal(row[OPEN], price), "close": decimal(row[CLOSE], price),
        "high": decimal(row[HIGH], price), "low": decimal(row[LOW], price),
        "volume": decimal(row[VOLUME], lot), "turnover": decimal(row[QUOTE], lot),
        "confirm": time >= end, "timestamp": candles.trade_time(trade),
    }  # fmt: skip
    return {"topic": f"kline.{name}.{instrument.symbol}", "data": [bar], "ts": time, "type": "snapshot"}


def trade(instrument: Instrument, number: int) -> dict:
    """One entry of /recent-trade. `seq` numbers the state of the book that the trade left."""
    facts = agg_trade(instrument, number)
    return {
        "execId": str(uuid5(NAMESPACE_URL, f"{instrument.symbol}/{number}")), "symbol": instrument.symbol, "price": facts["p"],
        "size": facts["q"], "side": "Sell" if facts["m"] else "Buy", "time": str(facts["T"]), "isBlockTrade": False, "isRPITrade": False,
        "seq": str(number + 1),
    }  # fmt: skip


def trade_event(instrument: Instrument, number: int) -> dict:
    """A message of publicTrade."""
    facts, direction = trade(instrument, number), tick_direction(instrument, number)
    time = int(facts["time"])
    entry = {
        "T": time, "s": facts["symbol"], "S": facts["side"], "v": facts["size"], "p": facts["price"], "L": direction,
        "i": facts["execId"], "BT": False, "RPI": False, "seq": number + 1,
    }  # fmt: skip
    return {"topic": f"publicTrade.{instrument.symbol}", "type": "snapshot", "ts": time, "data": [entry]}


def tick_direction(instrument: Instrument, number: int) -> str:
    move = price_move(instrument.last, number)
    if move:
        return "PlusTick" if move > 0 else "MinusTick"
    return "ZeroMinusTick" if seller_made(instrument.last, number) else "ZeroPlusTick"


def ticker(instrument: Instrument, time: int) -> dict[str, str]:
    """What a ticker tells at `time`, but for the sizes at the best prices. The rate is the last one settled: no later one is known."""
    last, day, price = instrument.last, UNITS["d"], instrument.digits
    first = int(np.searchsorted(instrument.times, time - day, side="right"))
    open_bar = int(np.searchsorted(instrument.times, time, side="right")) - 1
    span = last.merged(min(first, open_bar), time)
    now, before, hour = (last.price(max(each, int(instrument.times[0]))) for each in (time, time - day, time - UNITS["h"]))
    bid, mark, interest = best_bid(instrument, time), instrument.mark.price(time), instrument.open_interest(time)
    return {
        "symbol": instrument.symbol, "tickDirection": tick_direction(instrument, last.trades_until(time) - 1),
        "price24hPcnt": f"{now / before - 1:.6f}", "lastPrice": decimal(now, price), "prevPrice24h": decimal(before, price),
        "highPrice24h": decimal(span[HIGH], price), "lowPrice24h": decimal(span[LOW], price), "prevPrice1h": decimal(hour, price),
        "markPrice": decimal(mark, 8), "indexPrice": decimal(instrument.index.price(time), 8),
        "openInterest": decimal(interest, instrument.lot_digits), "openInterestValue": f"{interest * mark:.4f}",
        "turnover24h": decimal(span[QUOTE], 4), "volume24h": decimal(span[VOLUME], instrument.lot_digits),
        "fundingRate": last_rate(instrument, time), "nextFundingTime": str(next_funding(time)),
        "bid1Price": ticks(instrument, bid), "ask1Price": ticks(instrument, bid + 1),
    }  # fmt: skip


def sizes(exchange: Exchange, instrument: Instrument) -> dict[str, str]:
    """The quantities at the best prices, now."""
    top = book_top(exchange, instrument)
    return {"bid1Size": top["bidQty"], "ask1Size": top["askQty"]}


def funding(instrument: Instrument, index: int) -> dict:
    """One entry of /funding/history."""
    rate, time = float(instrument.funding_rates[index]), int(instrument.funding_times[index])
    return {"symbol": instrument.symbol, "fundingRate": decimal(rate, 8), "fundingRateTimestamp": str(time)}


def interest(instrument: Instrument, time: int) -> dict:
    """One entry of /open-interest, base currency."""
    return {"openInterest": decimal(instrument.open_interest(time), 8), "timestamp": str(time)}


def contract(instrument: Instrument, trades: bool, takes_orders: bool) -> dict:
    """One entry of /instruments-info; `trades`: whether it is still traded, `takes_orders`: and not halted."""
    tick, lot = (decimal(10.0**-digits, digits) for digits in (instrument.digits, instrument.lot_digits))
    return {
        "symbol": instrument.symbol, "contractType": "LinearPerpetual", "status": "Trading" if takes_orders else "Closed",
        "baseCoin": instrument.base, "quoteCoin": instrument.quote, "settleCoin": instrument.quote, "symbolType": "",
        "launchTime": str(int(instrument.times[0])), "deliveryTime": "0" if trades else str(instrument.end),
        "deliveryFeeRate": "", "priceScale": str(instrument.digits),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": f"{MOST_LEVERAGE:.2f}", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": "1999999.80", "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": f"{MOST_LIMIT}.000", "minOrderQty": lot, "qtyStep": lot, "postOnlyMaxOrderQty": f"{MOST_LIMIT}.000",
            "maxMktOrderQty": f"{MOST_MARKET}.000", "minNotionalValue": f"{LEAST_NOTIONAL}",
        },
        "unifiedMarginTrade": True, "fundingInterval": FUNDING_MS // UNITS["m"], "copyTrading": "none", "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375", "isPreListing": False, "preListingInfo": None,
    }  # fmt: skip


def risk_limits(instrument: Instrument, time: int) -> list[dict]:
    """The entries of /risk-limit. The tables are Binance's: no dated record of Bybit's was found. Initial margin is twice maintenance."""
    entries = []
    for number, (floor, cap, rate, amount) in enumerate(bracket_rows(instrument.symbol, time), 1):
        initial = min(max(2 * rate, 1 / MOST_LEVERAGE), 1.0)
        entries.append({
            "id": number, "symbol": instrument.symbol, "riskLimitValue": f"{cap:.0f}", "maintenanceMargin": f"{rate:g}",
            "initialMargin": f"{initial:g}", "isLowestRisk": int(number == 1), "maxLeverage": f"{1 / initial:.2f}",
            "mmDeduction": f"{amount:.2f}" if floor else "",
        })  # fmt: skip
    return entries
