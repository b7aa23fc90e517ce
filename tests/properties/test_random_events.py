"""A few thousand of the random sequences of which benchmarks/random_events.py lives a million; and that the auditor sees what is wrong."""

import numpy as np
import pytest
from audit import audit
from sequences import draw, live

from quantalpha.perp.clock import REASONS

BAR, REASON, QUANTITY, PRICE, FEE, REALISED, POSITION, SLIPPAGE, SYMBOL, SEQUENCE = range(10)


def sequences(symbols, seed, count=1500):
    batch, worlds = draw(np.random.default_rng([seed, symbols]), count, symbols)
    return batch, live(batch, worlds)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("symbols", [1, 2, 3])
def test_no_law_is_broken(symbols, seed):
    batch, lived = sequences(symbols, seed)
    auditor = audit(batch, lived)
    assert not auditor.broken
    assert auditor.worst_error < 1e-12
    seen = np.bincount(lived.fills[:, REASON].astype(int), minlength=len(REASONS))[1:]
    assert seen[: 7 if symbols == 1 else None].min() > 100 and len(lived.paid) > 300  # one symbol is never delisted


DAMAGES = [  # law, what is damaged (a reason, or where a column is not zero), column, how
    ("realised = closed * (price - entry), forgiven beyond the margin", REALISED, REALISED, 0.999),
    ("fee = rate * notional, at most what is left", FEE, FEE, 0.999),
    ("slippage is what the price lost", SLIPPAGE, SLIPPAGE, 1.001),
    ("position = before + quantity", POSITION, POSITION, 1.01),
    ("an exit leaves nothing", "order", REASON, REASONS.index("stop_loss")),
    ("an order is what was decided, when it is due, at its price", "order", PRICE, 0.999),
    ("a limit order is what was decided, at its limit, in its time", "limit", PRICE, 1.0001),
    ("a stop is touched and filled no better than its level", "stop_loss", PRICE, 1.0001),
    ("a take-profit is touched and filled at its level or the open", "take_profit", PRICE, 1.0001),
    ("a time stop is at the open, in time", "time_stop", PRICE, 1.0001),
    ("a liquidation has cause and its price", "liquidation", PRICE, 1.001),
]


@pytest.mark.parametrize(("law", "where", "column", "factor"), DAMAGES)
@pytest.mark.parametrize("symbols", [1, 3])
def test_a_damaged_fill_is_found_out(symbols, law, where, column, factor):
    """One fill of each of a hundred sequences is altered: all hundred are reported."""
    batch, lived = sequences(symbols, 9, count=500)
    fills = lived.fills.copy()
    fit = fills[:, REASON] == REASONS.index(where) if isinstance(where, str) else np.abs(fills[:, where]) > 0.1
    _, first = np.unique(fills[fit, SEQUENCE], return_index=True)
    chosen = np.flatnonzero(fit)[first[:100]]
    fills[chosen, column] *= factor
    broken = audit(batch, lived._replace(fills=fills)).broken
    assert law in broken
    assert set(fills[chosen, SEQUENCE]) <= set(np.concatenate(list(broken.values())))


@pytest.mark.parametrize(
    ("law", "damage"),
    [
        ("equity = cash + open profit", lambda lived: lived._replace(equity=lived.equity + 0.001)),
        ("equity is finite and never below zero", lambda lived: lived._replace(equity=-lived.equity)),
        ("wallet = start + realised - fees + funding", lambda lived: lived._replace(cash=lived.cash + 0.001)),
        ("funding = -position * mark * rate, where held and due", lambda lived: lived._replace(paid=lived.paid[1:])),
        ("funding is paid once", lambda lived: lived._replace(paid=np.repeat(lived.paid, 2, axis=0))),
        ("no stop is missed", lambda lived: without(lived, "stop_loss")),
        ("no take-profit is missed", lambda lived: without(lived, "take_profit")),
        ("no time stop is missed", lambda lived: without(lived, "time_stop")),
        ("no liquidation is missed", lambda lived: without(lived, "liquidation")),
    ],
)  # fmt: skip
def test_a_damaged_account_is_found_out(law, damage):
    batch, lived = sequences(1, 9, count=500)
    assert law in audit(batch, damage(lived)).broken


def without(lived, reason):
    return lived._replace(fills=lived.fills[lived.fills[:, REASON] != REASONS.index(reason)])
