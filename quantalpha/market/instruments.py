"""What a venue demands of an instrument, with the day it was seen: tick, lot, smallest order, listing and status; maintenance brackets.

data/raw/{venue}/{symbol}/rules.jsonl  brackets.jsonl        one line each time something changed (`quantalpha.audit`)

account = Account(10_000, brackets=seen_brackets(lake, "binanceusdm", "BTCUSDT"))
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from quantalpha import audit, schema
from quantalpha.errors import DataError, UsageError
from quantalpha.market.connect import BINANCE
from quantalpha.market.exchange import Client
from quantalpha.market.store import Lake
from quantalpha.perp.brackets import Bracket, check_brackets
from quantalpha.secrets import environment

RULES, BRACKETS = "rules", "brackets"
RECORDS = (RULES, BRACKETS)
NEVER = 4_000_000_000_000  # milliseconds: Binance's delivery date of a perpetual lies beyond
TICK_SIZE = 4  # ccxt's precisionMode of venues that give steps, not numbers of decimals
Schedule = tuple[tuple[pd.Timestamp, tuple[Bracket, ...]], ...]


class _Unchanged(Exception):
    pass


def record_path(lake: Lake, venue: str, symbol: str, name: str) -> Path:
    return lake.root / venue / symbol / f"{name}.jsonl"


def record(path: Path, name: str, facts: Any, seen_ms: int) -> bool:
    """Adds a line {seen, `name`: facts} unless the last one says the same; whether it did."""

    def line(before: list[dict]) -> dict:
        if before and before[-1][name] == facts:
            raise _Unchanged
        return {"seen": schema.iso(seen_ms), name: facts}

    try:
        audit.append(path, line)
    except _Unchanged:
        return False
    return True


def history(lake: Lake, venue: str, symbol: str, name: str) -> list[dict]:
    """Every line seen, oldest first: [{seen, `name`}]."""
    return audit.read(record_path(lake, venue, symbol, name))


def seen_brackets(lake: Lake, venue: str, symbol: str) -> Schedule:
    """The maintenance tables as `perp.Account(brackets=...)` takes them: each from when it was first seen, the first also before.

    DataError where none was ever fetched.
    """
    lines = history(lake, venue, symbol, BRACKETS)
    if not lines:
        path = record_path(lake, venue, symbol, BRACKETS)
        raise DataError(f"{path}: no brackets were ever fetched; run `quantalpha data download --kind brackets --symbol {symbol}`")
    return tuple((pd.Timestamp(line["seen"]), check_brackets([Bracket(*row) for row in line[BRACKETS]])) for line in lines)


def rules(client: Client, symbol: str) -> dict:
    """What the venue's list of instruments says: steps, bounds of an order, dates (ISO or None) and status."""
    market = client.market(symbol)
    bounds, precision, info = market["limits"], market["precision"], market["info"]
    if client.exchange.precisionMode != TICK_SIZE:
        raise UsageError(f"rules: {client.venue.name} gives decimals, not steps")
    delivery = int(info.get("deliveryDate") or info.get("deliveryTime") or 0)
    return {
        "tick": precision["price"], "lot": precision["amount"], "min_quantity": bounds["amount"]["min"],
        "max_quantity": bounds["amount"]["max"], "min_notional": bounds["cost"]["min"], "contract_size": market["contractSize"],
        "onboard": _day(market["created"]), "delivery": _day(delivery if 0 < delivery < NEVER else None), "status": info.get("status"),
    }  # fmt: skip


async def brackets(client: Client, symbols: list[str]) -> Mapping[str, list[list[float]]]:
    """Maintenance tables [[floor, rate]] by symbol, floors in quote currency. UsageError where the venue does not tell, or wants a key."""
    has = client.exchange.has
    if client.venue.name in BINANCE:
        await _sign(client)
    elif has["fetchMarketLeverageTiers"] is True:
        return {symbol: await _one_table(client, symbol) for symbol in symbols}
    elif not has["fetchLeverageTiers"]:
        raise UsageError(f"brackets: {client.venue.name} does not publish them")
    found = await client.ask("its maintenance brackets", lambda: client.exchange.fetch_leverage_tiers())
    return {symbol: _table(found[client.unified(symbol)]) for symbol in symbols if client.unified(symbol) in found}


async def _one_table(client: Client, symbol: str) -> list[list[float]]:
    name = client.unified(symbol)
    return _table(await client.ask(f"{symbol} brackets", lambda: client.exchange.fetch_market_leverage_tiers(name)))


async def _sign(client: Client) -> None:
    """Give the client the account's key and the venue's clock, which a signature is made with."""
    names = ("BINANCE_KEY", "BINANCE_SECRET")
    absent = [name for name in names if name not in environment()]
    if absent:
        raise UsageError(f"brackets: {' and '.join(absent)} not set (environment or .env); a key that may only read is enough")
    client.exchange.apiKey, client.exchange.secret = (environment()[name] for name in names)
    await client.ask("the time", client.exchange.load_time_difference)


def _table(tiers: list[dict]) -> list[list[float]]:
    table = sorted([float(tier["minNotional"]), float(tier["maintenanceMarginRate"])] for tier in tiers)
    check_brackets(table)
    return table


def _day(ms: int | None) -> str | None:
    return None if ms is None else schema.iso(ms)
