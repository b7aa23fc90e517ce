"""Where a session stands, in one line."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from quantalpha.runner.engine import Engine


@dataclass(frozen=True)
class Status:
    """time: ms of the last close; positions in signed base units; edge: the last one, None before the first decision."""

    time: int
    prices: Mapping[str, float]
    positions: Mapping[str, float]
    equity: float | None
    edge: float | None
    decisions: int
    fills: int
    halted: str | None = None

    def __str__(self) -> str:
        edge = "-" if self.edge is None else f"{self.edge:+.3f}"
        money = "-" if self.equity is None else f"{self.equity:,.2f}"
        market = "  ".join(f"{symbol} {self._price(symbol)} position {held:+.3f}" for symbol, held in self.positions.items())
        told = "" if self.halted is None else f"  HALTED by {self.halted}"
        when = datetime.fromtimestamp(self.time / 1000, UTC)
        return f"{when:%Y-%m-%d %H:%M} UTC  {market}  equity {money}  edge {edge}  decisions {self.decisions}  fills {self.fills}{told}"

    def _price(self, symbol: str) -> str:
        return f"{self.prices[symbol]:,.2f}" if symbol in self.prices else "-"


def status(engine: Engine) -> Status:
    close, equity, signal = (engine.last.get(kind) for kind in ("MarketClose", "Equity", "Signal"))
    account = engine.broker.account()
    return Status(
        time=0 if close is None else close.event_time,
        prices=engine.prices(),
        positions=dict.fromkeys(engine.symbols, 0.0) | {leg: held.quantity for leg, held in account.positions.items()},
        equity=None if equity is None else equity.equity,
        edge=None if signal is None else signal.edge,
        decisions=engine.counts["Signal"],
        fills=engine.counts["Fill"],
        halted=None if engine.halted is None else engine.halted.name,
    )
