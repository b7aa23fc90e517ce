"""What checks, kill switches and executions are shown of the account and its markets: values only, nothing they could change."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Position:
    """Signed base units; prices in quote currency. liquidation_price: 0.0 where none is in reach."""

    quantity: float = 0.0
    entry_price: float = 0.0
    mark: float = 0.0
    liquidation_price: float = 0.0

    @property
    def notional(self) -> float:
        """Signed, at the mark."""
        return self.quantity * self.mark

    @property
    def unrealised(self) -> float:
        return self.quantity * (self.mark - self.entry_price)


FLAT = Position()


@dataclass(frozen=True)
class AccountView:
    """The account an order is judged against, at the deciding close.

    time: ms since 1970 UTC; equity and cash (the wallet) in quote currency; returns: of each symbol the simple returns of its last closed
    bars, oldest first; step: ms of one such bar; sent: times (ms) of the instructions to place or amend of the last minute;
    pending: signed base units that passed risk and have not traded yet, by symbol: they count as if they had. venues: of an account that
    lies at several, what is at each alone, with the symbols as that venue calls them: no money of one stands behind the other's positions.
    """

    equity: float
    positions: Mapping[str, Position] = field(default_factory=dict)
    cash: float = float("nan")
    time: int = 0
    returns: Mapping[str, np.ndarray] = field(default_factory=dict)
    step: int = 0
    sent: tuple[int, ...] = ()
    pending: Mapping[str, float] = field(default_factory=dict)
    venues: "tuple[AccountView, ...]" = ()

    def position(self, symbol: str) -> Position:
        return self.positions.get(symbol, FLAT)

    def quantity(self, symbol: str) -> float:
        return self.position(symbol).quantity
