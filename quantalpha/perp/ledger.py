"""One account stepped bar by bar: a thin object over the compiled clock that the backtest loops over."""

import math
from dataclasses import dataclass

from quantalpha.errors import DataError, UsageError
from quantalpha.perp.account import Account, terms, tiers
from quantalpha.perp.costs import Costs, Stops


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade that happened in the bar opening at `time` (ms since 1970 UTC)."""

    time: int
    quantity: float  # signed: + bought, - sold
    price: float  # as filled, slippage included
    fee: float  # quote currency, + paid
    realised: float  # profit of the part closed, before the fee
    reason: str  # order | stop_loss | take_profit | liquidation


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """Funding settled at `time` (ms since 1970 UTC) on the position held before it."""

    time: int
    amount: float  # quote currency, + received
    rate: float
    mark: float
    quantity: float


Event = Fill | FundingPayment


def check_target(target: float, leverage: float, where: str) -> None:
    """Refuse a target that is no number or needs more leverage than the account has."""
    if not math.isfinite(target):
        raise DataError(f"{where}: target must be a number, found {target}; 0 is flat")
    if abs(target) > leverage:
        raise UsageError(f"{where}: target {target:g} exceeds account.leverage {leverage:g}; lower the target or raise account.leverage")


class Ledger:
    """The life of a bar: open_bar, inside_bar, close_bar, decide. Feed every bar once, in order.

    All money in quote currency, quantity in base currency, times in ms since 1970 UTC.
    """

    def __init__(self, account: Account, costs: Costs, stops: Stops | None = None):
        from quantalpha.perp import clock

        self._clock = clock
        self._terms, self._tiers = terms(account, costs, stops), tiers(account)
        self._state = clock.State(float(account.initial_cash), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def open_bar(self, time_ms: int, open: float, mark_open: float | None, funding_rate: float) -> list[Event]:
        """Steps 1 and 2: funding on the position held at `mark_open` (None or NaN: the open), then the decided order fills at the open."""
        mark = _mark(open, mark_open)
        if not math.isfinite(funding_rate):
            raise DataError(f"ledger at {time_ms}: funding_rate must be a number, found {funding_rate}; 0 where none is due")
        _check_prices(time_ms, open=open, mark_open=mark)
        held = self._state.quantity
        self._state, amount = self._clock.pay_funding(self._state, self._terms, self._tiers, mark, float(funding_rate))
        events: list[Event] = []
        if held != 0.0 and funding_rate != 0.0:
            events.append(FundingPayment(int(time_ms), amount, float(funding_rate), mark, held))
        self._state, fill = self._clock.fill_order(self._state, self._terms, self._tiers, float(open))
        return events + self._fills(time_ms, fill)

    def inside_bar(self, time_ms: int, open: float, high: float, low: float) -> list[Event]:
        """Step 3: stop-loss or liquidation, then take-profit."""
        _check_prices(time_ms, open=open, high=high, low=low)
        reason, price = self._clock.touched(self._state, self._terms, float(open), float(high), float(low))
        if reason == self._clock.NONE:
            return []
        self._state, fill = self._clock.exit_at(self._state, self._terms, self._tiers, reason, price)
        return self._fills(time_ms, fill)

    def close_bar(self, close: float, mark: float | None) -> float:
        """Step 4: equity at the mark at the bar's close (None or NaN: the close)."""
        _check_prices("close_bar", close=close, mark=_mark(close, mark))
        self._state, equity = self._clock.mark_close(self._state, self._terms, _mark(close, mark))
        return equity

    def decide(self, target: float, close: float, mark: float | None) -> float:
        """At the bar's close: fix the order for the next open. Returns its signed quantity, 0.0 where the target is unchanged.

        target: signed leverage, position notional / equity.
        """
        check_target(target, self._terms.leverage, "ledger")
        _check_prices("decide", close=close, mark=_mark(close, mark))
        self._state = self._clock.decide(self._state, self._terms, float(target), float(close), _mark(close, mark))
        return self._state.order

    def _fills(self, time_ms, fill) -> list[Event]:
        if fill.reason == self._clock.NONE:
            return []
        return [Fill(int(time_ms), fill.quantity, fill.price, fill.fee, fill.realised, self._clock.REASONS[fill.reason])]

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
        """The last target decided."""
        return self._state.target

    @property
    def order(self) -> float:
        """Signed quantity waiting for the next open."""
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
        self._state = self._clock.State(*(float(state[name]) for name in fields))


def _mark(close: float, mark: float | None) -> float:
    return float(close if mark is None or math.isnan(mark) else mark)


def _check_prices(where: int | str, **prices: float) -> None:
    for name, value in prices.items():
        if not 0.0 < value < math.inf:
            raise DataError(f"ledger at {where}: {name} must be a positive price, found {value}")
