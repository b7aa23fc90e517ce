"""One account stepped bar by bar: a thin object over the compiled clock that the backtest loops over."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantalpha.errors import DataError, UsageError
from quantalpha.perp.account import Account, fresh, terms, tiers
from quantalpha.perp.costs import Costs, Slippage, Stops

if TYPE_CHECKING:
    from quantalpha.perp.clock import State


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade that happened in the bar opening at `time` (ms since 1970 UTC)."""

    time: int
    quantity: float  # signed: + bought, - sold
    price: float  # as filled, slippage included
    fee: float  # quote currency, + paid
    realised: float  # profit of the part closed, before the fee
    reason: str  # order | limit | stop_loss | trailing_stop | take_profit | time_stop | liquidation


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """Funding settled at `time` (ms since 1970 UTC) on the position held before it."""

    time: int
    amount: float  # quote currency, + received
    rate: float
    mark: float
    quantity: float


Event = Fill | FundingPayment
TOLERATED = 1e-9  # as the clock has it, which is loaded late


def check_target(target: float, leverage: float, where: str) -> None:
    """Refuse a target that is no number or needs more leverage than the account has."""
    if not math.isfinite(target):
        raise DataError(f"{where}: target must be a number, found {target}; 0 is flat")
    if abs(target) > leverage * (1.0 + TOLERATED):
        raise UsageError(f"{where}: target {target:g} exceeds account.leverage {leverage:g}; lower the target or raise account.leverage")


class Ledger:
    """The life of a bar: open_bar, inside_bar, close_bar, decide. Feed every bar once, in order.

    All money in quote currency, quantity in base currency, times in ms since 1970 UTC.
    """

    def __init__(self, account: Account, costs: Costs, stops: Stops | None = None):
        from quantalpha.perp import clock

        self._clock = clock
        self._terms, self._tables = terms(account, costs, stops), tiers(account)
        self._tiers = self._tables[0][1]
        self._modelled = isinstance(costs.slippage, Slippage)
        self._change(fresh(account))

    def open_bar(
        self, time_ms: int, open: float, mark_open: float | None, funding_rate: float, slippage: tuple[float, float] | None = None
    ) -> list[Event]:
        """Steps 1 and 2: funding on the position held at `mark_open` (None or NaN: the open), then a due order fills at the open.

        slippage: this bar's row of `Slippage.curves`, asked for where the costs have such a model; elsewhere what takes the place of
        the fixed one at this open: (fraction, 0.0), + against us, at most CEILING.
        """
        mark = _mark(open, mark_open)
        if not abs(funding_rate) < 1.0:
            raise DataError(f"ledger at {time_ms}: funding_rate must be a fraction below 1 (0 where none is due), found {funding_rate}")
        check_prices(time_ms, open=open, mark_open=mark)
        slip = self._valid_at(time_ms, slippage)
        held, prices = self._state.quantity, (mark, float(funding_rate), float(open))
        if self._idle(funding_rate):
            return []
        state, amount, fill = self._clock.open_one(self._state, self._terms, self._tiers, *prices, *slip)
        self._change(state)
        events: list[Event] = []
        if held != 0.0 and funding_rate != 0.0:
            events.append(FundingPayment(int(time_ms), amount, float(funding_rate), mark, held))
        return events + self._fills(time_ms, fill)

    def inside_bar(self, time_ms: int, open: float, high: float, low: float, slippage: tuple[float, float] | None = None) -> list[Event]:
        """Step 3: stops or liquidation, then take-profit and a resting limit order."""
        check_prices(time_ms, open=open, high=high, low=low)
        if not low <= open <= high:
            raise DataError(f"ledger at {time_ms}: expected low <= open <= high, found {low}, {open}, {high}")
        slip = self._valid_at(time_ms, slippage)
        if self._quiet(low, high):
            return []
        state, *fills = self._clock.inside(self._state, self._terms, self._tiers, float(open), float(high), float(low), *slip)
        self._change(state)
        return self._fills(time_ms, *fills)

    def close_bar(self, close: float, mark: float | None) -> float:
        """Step 4: equity at the mark at the bar's close (None or NaN: the close)."""
        seen = _mark(close, mark)
        check_prices("close_bar", close=close, mark=seen)
        self._state, equity = self._clock.mark_close(self._state, self._terms, seen)
        return equity

    def decide(self, target: float, close: float, mark: float | None, limit: float | None = None) -> float | None:
        """At the bar's close: fix the order for the next open. Returns its signed quantity (0.0: a new target that needs no trade), or
        None where nothing is decided: the target stands, and an order that waits or rests goes on.

        target: signed leverage, position notional / equity. limit: price of a limit order; None: at market.
        """
        before = self._state
        self._change(self._decided(target, close, mark, limit))
        return None if self._state == before else self._state.order

    def foresee(self, target: float, close: float, mark: float | None, limit: float | None = None) -> float | None:
        """What `decide` would return; changes nothing."""
        if target == self._state.target and self._terms.drift_band == math.inf:
            return None  # the commonest answer, without a compiled call
        state = self._decided(target, close, mark, limit)
        return None if state == self._state else state.order

    def _decided(self, target: float, close: float, mark: float | None, limit: float | None) -> "State":
        check_target(target, self._terms.leverage, "ledger")
        prices = {"close": close, "mark": _mark(close, mark)} | ({} if limit is None else {"limit": limit})
        check_prices("decide", **prices)
        resting = 0.0 if limit is None else float(limit)
        return self._clock.decide(self._state, self._terms, float(target), resting, float(close), _mark(close, mark))

    def _change(self, state: "State") -> None:
        self._state, self._bounds = state, None  # what a mark changes, the bounds do not know of

    def _quiet(self, low: float, high: float) -> bool:
        """Nothing happens between these prices: the commonest bar, without a compiled call."""
        if self._bounds is None:
            self._bounds = self._clock.quiet_bounds(self._state, self._terms)
        return low > self._bounds[0] and high < self._bounds[1]

    def _idle(self, funding_rate: float) -> bool:
        """Nothing is due at an open: the commonest one, without a compiled call."""
        state = self._state
        return state.order == 0.0 and (state.quantity == 0.0 or (funding_rate == 0.0 and state.held < self._terms.max_bars))

    def _valid_at(self, time_ms: int, slippage: tuple[float, float] | None) -> tuple[float, float]:
        """Bring the maintenance table up to date; the slippage as the clock takes it."""
        if self._modelled and slippage is None:
            raise UsageError(f"ledger at {time_ms}: a slippage model and its values for each bar come together; found {slippage}")
        table = self._tiers if len(self._tables) == 1 else in_force(self._tables, time_ms)[1]
        if table is not self._tiers:
            self._tiers = table
            self._change(self._clock.settle(self._state, self._terms, table))
        return (math.nan, 0.0) if slippage is None else (float(slippage[0]), float(slippage[1]))

    def _fills(self, time_ms, *fills) -> list[Event]:
        reasons = self._clock.REASONS
        return [Fill(int(time_ms), f.quantity, f.price, f.fee, f.realised, reasons[f.reason]) for f in fills if f.reason]

    @property
    def now(self) -> "State":
        """Everything that may change."""
        return self._state

    @property
    def cash(self) -> float:
        """Wallet balance: initial cash + realised - fees + funding."""
        return self._state.cash

    @property
    def quantity(self) -> float:
        return self._state.quantity

    @property
    def entry_price(self) -> float:
        """Average fill price of the position, 0.0 when flat."""
        return self._state.entry_price

    @property
    def liquidation_price(self) -> float:
        """0.0 when flat or out of reach."""
        return self._state.liquidation_price

    @property
    def target(self) -> float:
        """The last target acted on."""
        return self._state.target

    @property
    def order(self) -> float:
        """Signed quantity waiting for its open, or resting at its limit."""
        return self._state.order

    @property
    def equity(self) -> float:
        """At the last mark seen."""
        return self._clock.equity_at(self._state, self._terms, self._state.mark)

    def state(self) -> dict[str, float]:
        """Everything that may change, as JSON numbers."""
        return self._state._asdict()

    def restore(self, state: dict[str, float]) -> None:
        """Continue exactly where `state()` was taken; account, costs and stops are the constructor's."""
        fields = self._clock.State._fields
        if set(state) != set(fields):
            raise DataError(f"ledger state: expected {', '.join(fields)}; found {', '.join(state)}")
        for name in fields:
            if isinstance(state[name], bool) or not isinstance(state[name], (int, float)) or not math.isfinite(state[name]):
                raise DataError(f"ledger state: {name} must be a finite number, found {state[name]!r}")
        self._change(self._clock.State(*(float(state[name]) for name in fields)))


def in_force(tables: list[tuple], time_ms: int) -> tuple:
    """The last of the dated tables (time first) that begins by `time_ms`; the first one also holds before its time."""
    return next((table for table in reversed(tables) if table[0] <= time_ms), tables[0])


def _mark(close: float, mark: float | None) -> float:
    return float(close if mark is None or math.isnan(mark) else mark)


def check_prices(where: int | str, **prices: float) -> None:
    """Refuse what is no positive price."""
    for name, value in prices.items():
        if not 0.0 < value < math.inf:
            raise DataError(f"ledger at {where}: {name} must be a positive price, found {value}")
