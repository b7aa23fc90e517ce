"""The account a strategy trades with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from quantalpha.errors import UsageError, did_you_mean
from quantalpha.perp.brackets import ALTCOIN, Bracket, check_brackets, rates_and_amounts
from quantalpha.perp.costs import CEILING, Costs, Slippage, Stops, check, check_count
from quantalpha.perp.rounding import Instrument

if TYPE_CHECKING:
    import pandas as pd

    from quantalpha.perp.clock import State, Terms, Tiers

MARGIN_MODES = ("cross", "isolated")
MOST_LEVERAGE = 125.0  # of any venue known here
Table = tuple[Bracket, ...]
Schedule = tuple[tuple["pd.Timestamp", Table], ...]  # from when on each table holds; the first one also before


@dataclass(frozen=True)
class Account:
    """One account in linear perpetuals, kept in quote currency. What an instrument demands stands here for all of them, or by symbol."""

    initial_cash: float
    leverage: float = 1.0  # largest sum of |target|; isolated: a position's initial margin is its entry notional / leverage
    margin_mode: str = "cross"  # cross: the whole wallet stands behind every position; isolated: its initial margin only
    brackets: Table | Schedule | None = None  # maintenance margin, dated or not; None: the strict altcoin table
    lot: float = 0.0  # step of quantity, base currency; 0: any quantity
    min_notional: float = 0.0  # smaller orders are not sent unless they close a position, quote currency
    tick: float = 0.0  # step of a limit price; 0: any price
    rebalance_band: float | None = None  # least change of leverage worth a trade, drift included; entries, exits and flips always trade;
    # None: every new target trades, drift never does
    limit_bars: int | None = None  # bars a limit order rests; None: until the target changes
    instruments: Mapping[str, Instrument] | None = None  # for the symbols that differ

    def __post_init__(self):
        check("account.initial_cash", self.initial_cash, 0.0, math.inf, inclusive=False)
        check("account.leverage", self.leverage, 1.0, MOST_LEVERAGE, inclusive="both")
        for name in ("lot", "min_notional", "tick"):
            check(f"account.{name}", getattr(self, name), 0.0, math.inf)
        if self.rebalance_band is not None:
            check("account.rebalance_band", self.rebalance_band, 0.0, math.inf)
        if self.limit_bars is not None:
            check_count("account.limit_bars", self.limit_bars, 1)
        if self.margin_mode not in MARGIN_MODES:
            raise UsageError(f"account.margin_mode: found {self.margin_mode!r}; {did_you_mean(self.margin_mode, MARGIN_MODES)}")
        for symbol, instrument in (self.instruments or {}).items():
            if not isinstance(instrument, Instrument):
                raise UsageError(f"account.instruments: {symbol}: expected an Instrument, found {type(instrument).__name__}")
        object.__setattr__(self, "initial_cash", float(self.initial_cash))  # 10_000 is one account, compiled and hashed alike
        object.__setattr__(self, "brackets", _checked(ALTCOIN if self.brackets is None else self.brackets))

    def instrument(self, symbol: str | None = None) -> Instrument:
        """What `symbol` demands; the account's own words where nothing else was said."""
        own = (self.instruments or {}).get(symbol, Instrument())
        said = {name: getattr(self, name) for name in ("lot", "tick", "min_notional", "brackets") if getattr(own, name) is None}
        return replace(own, **said)

    def check_symbols(self, symbols: Sequence[str | None]) -> None:
        """Refuse instruments nobody trades: a misspelt name would go by the account's terms unseen."""
        strange = [name for name in self.instruments or {} if name not in symbols]
        if strange:
            raise UsageError(
                f"account.instruments: {strange[0]!r} is not traded here, "
                f"only {', '.join(map(str, symbols)) if symbols != (None,) else 'a table of bars without a name: give bars as a mapping'}"
            )


def terms(account: Account, costs: Costs, stops: Stops | None = None, symbol: str | None = None) -> "Terms":
    """The numbers the compiled clock works with."""
    from quantalpha.perp import clock

    stops, instrument = Stops() if stops is None else stops, account.instrument(symbol)
    band = account.rebalance_band
    return clock.Terms(
        maker=float(costs.maker),
        taker=float(costs.taker),
        slippage=math.nan if isinstance(costs.slippage, Slippage) else float(costs.slippage),
        ceiling=CEILING,
        liquidation=float(costs.liquidation),
        delay=float(costs.delay),
        stop_loss=_or_never(stops.stop_loss),
        take_profit=_or_never(stops.take_profit),
        trailing_stop=_or_never(stops.trailing_stop),
        max_bars=_or_never(stops.max_bars),
        leverage=1.0 if instrument.spot else float(account.leverage),
        apart=2.0 if instrument.spot else float(account.margin_mode == "isolated"),
        lot=float(instrument.lot),
        tick=float(instrument.tick),
        min_notional=float(instrument.min_notional),
        change_band=0.0 if band is None else float(band),
        drift_band=_or_never(band),
        limit_bars=_or_never(account.limit_bars),
    )


def tiers(account: Account, symbol: str | None = None) -> list[tuple[int, "Tiers"]]:
    """Maintenance tables as the compiled clock takes them and the time (ms since 1970 UTC) from which each holds, the first from ever."""
    instrument = account.instrument(symbol)
    if instrument.spot:
        return [(0, _padded(np.zeros(1), np.zeros(1)))]
    brackets = instrument.brackets
    return list(_tables(brackets if isinstance(brackets, str) else tuple(brackets)))


@lru_cache(maxsize=64)
def _tables(brackets: Table | Schedule) -> list[tuple[int, "Tiers"]]:
    """Kept: a position's liquidation price is asked for with every order and fill."""
    brackets = _checked(brackets)
    schedule = brackets if is_schedule(brackets) else ((None, brackets),)
    return [(0 if k == 0 else int(start.timestamp() * 1000), _padded(*rates_and_amounts(t))) for k, (start, t) in enumerate(schedule)]


def _padded(rates: np.ndarray, amounts: np.ndarray) -> "Tiers":
    from quantalpha.perp import clock

    if len(rates) > clock.BRACKETS:
        raise UsageError(f"account.brackets: at most {clock.BRACKETS} brackets, found {len(rates)}")
    return clock.Tiers(*(tuple(np.pad(column, (0, clock.BRACKETS - len(column)), mode="edge").tolist()) for column in (rates, amounts)))


def is_schedule(brackets: Table | Schedule) -> bool:
    """Whether these are dated tables, not one table."""
    return bool(brackets) and not isinstance(brackets[0], Bracket) and isinstance(brackets[0][1], tuple)


def fresh(account: Account) -> "State":
    """Before the first bar."""
    from quantalpha.perp import clock

    return clock.State(float(account.initial_cash), *[0.0] * (len(clock.State._fields) - 1))


def liquidation_price(quantity: float, entry_price: float, cash: float, account: Account) -> float:
    """Price at which the venue closes a position of signed `quantity`; 0.0 where none does (flat, or a long covered down to zero). Of
    dated brackets the last table.

    Let Q = |quantity|, s its sign, E the entry price, W the margin (cross: the wallet `cash`; isolated: Q E / leverage, at most the
    wallet), r and a the rate and amount of a bracket. Equity meets the maintenance margin where  W + s Q (P - E) = r Q P - a,  so
    P = (s Q E - W - a) / (Q (s - r)).  Maintenance is the largest of the brackets' lines, so the price met first is the largest P over the
    brackets for a long and the smallest for a short; that P lies in its own bracket, by the notional at P.
    """
    return Liquidation(account).price(quantity, entry_price, cash)


class Liquidation:
    """`liquidation_price` of one account and symbol over and over: what they demand is looked up once."""

    def __init__(self, account: Account, symbol: str | None = None):
        self._margin, self._tiers = _Margin(account, symbol), tiers(account, symbol)[-1][1]

    def price(self, quantity: float, entry_price: float, cash: float) -> float:
        from quantalpha.perp import clock

        margin = self._margin(quantity, entry_price, cash)
        return clock.liquidation_price(float(quantity), float(entry_price), margin, self._tiers)


def bankruptcy_price(quantity: float, entry_price: float, cash: float, account: Account) -> float:
    """Price at which a position has lost all its margin W: E - W / quantity, 0.0 where none does; symbols as in `liquidation_price`.

    The venue's insurance fund takes over what is lost beyond it.
    """
    if quantity == 0.0:
        return 0.0
    return max(entry_price - _Margin(account)(quantity, entry_price, cash) / quantity, 0.0)


class _Margin:
    """What stands behind a position of an account."""

    def __init__(self, account: Account, symbol: str | None = None):
        free = Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0)
        self._fresh, self._terms = fresh(account), terms(account, free, None, symbol)

    def __call__(self, quantity: float, entry_price: float, cash: float) -> float:
        from quantalpha.perp import clock

        state = self._fresh._replace(cash=float(cash), quantity=float(quantity), entry_price=float(entry_price))
        return clock.margin_at_risk(state, self._terms)


def _checked(brackets: Table | Schedule) -> Table | Schedule:
    if isinstance(brackets, str):
        raise UsageError(f"account.brackets: expected a table of brackets, found {brackets!r}; brackets_for({brackets!r}) gives one")
    if not is_schedule(brackets):
        return check_brackets(brackets)
    starts = [start for start, _ in brackets]
    if any(not before < after for before, after in pairwise(starts)) or any(start.tz is None for start in starts):
        raise UsageError(f"account.brackets: dated tables must stand in order of their UTC times, found {starts}")
    return tuple((start, check_brackets(table)) for start, table in brackets)


def _or_never(value: float | None) -> float:
    return math.inf if value is None else float(value)
