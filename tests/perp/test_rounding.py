"""Lots, ticks and least notionals: the compiled floats agree with exact decimals, and messages hold no float noise."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quantalpha.errors import UsageError
from quantalpha.perp import round_quantity
from quantalpha.perp.rounding import Instrument, meets_minimum, round_price, to_venue

DECIMAL_STEPS = (1.0, 0.1, 0.01, 0.001, 0.0001, 1e-05, 1e-08, 0.5, 0.25, 0.05)  # a whole number of them is one
STEPS = (*DECIMAL_STEPS, 5.0, 10.0, 1000.0, 2.5, 0.3)
TOLERANCE = Decimal("1e-12")
steps = st.sampled_from(STEPS)
sizes = st.floats(1e-6, 1e7).map(lambda size: float(f"{size:.15g}"))


def toward_zero(value: float, step: float) -> Decimal:
    """`round_quantity` in exact decimals: this little below a step counts as the step."""
    exact, unit = Decimal(abs(value)), Decimal(repr(step))
    count = (exact / unit).to_integral_value(ROUND_FLOOR)
    count += (count + 1) * unit <= exact * (1 + TOLERANCE)
    return (count * unit).copy_sign(Decimal(value))


def values(rng, n, step):
    """Half anywhere, half on the grid or a few units of the last place beside it."""
    anywhere = rng.uniform(-1, 1, n // 2) * 10 ** rng.uniform(-3, 5, n // 2) * step
    grid = np.rint(10 ** rng.uniform(0, 6, n - n // 2)) * step * rng.choice([-1.0, 1.0], n - n // 2)
    return np.concatenate([anywhere, grid * (1 + rng.integers(-4, 5, grid.size) * 2.0**-52)])


def test_a_million_quantities_agree_with_decimals():
    rng = np.random.default_rng(0)
    for step in DECIMAL_STEPS:
        for value in values(rng, 100_000, step).tolist():
            assert round_quantity(value, step) == float(toward_zero(value, step)), (value, step)


@pytest.mark.parametrize("step", sorted(set(STEPS) - set(DECIMAL_STEPS)))
def test_other_steps_agree_to_the_last_place(step):
    for value in values(np.random.default_rng(1), 20_000, step).tolist():
        expected = float(toward_zero(value, step))
        assert abs(round_quantity(value, step) - expected) <= math.ulp(expected), (value, step)


@pytest.mark.parametrize(("side", "mode"), [(1.0, ROUND_FLOOR), (-1.0, ROUND_CEILING)])
def test_prices_agree_with_decimals(side, mode):
    """A price that differs from the grid by float noise only is on it."""
    for tick in DECIMAL_STEPS:
        for price in np.abs(values(np.random.default_rng(2), 10_000, tick)).tolist():
            exact, unit = Decimal(price), Decimal(repr(tick))
            nearest = (exact / unit).to_integral_value() * unit
            expected = nearest if abs(nearest - exact) <= TOLERANCE * exact else (exact / unit).to_integral_value(mode) * unit
            assert round_price(price, tick, side) == float(expected), (price, tick)


@given(price=sizes, tick=steps)
def test_a_rounded_price_is_passive_near_and_stays(price, tick):
    buy, sell = round_price(price, tick, 1), round_price(price, tick, -1)
    assert buy <= price * (1 + 1e-12) and sell >= price * (1 - 1e-12)
    assert sell - buy <= tick * (1 + 1e-6) + 4 * math.ulp(price)
    assert round_price(sell, tick, -1) == sell and (buy == 0.0 or round_price(buy, tick, 1) == buy)


def test_no_tick_leaves_the_price_alone():
    assert round_price(123.456789, 0.0, 1) == 123.456789 == round_price(123.456789, 0.0, -1)


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (0.003, 0.001, "0.003"), (0.1 + 0.2, 0.1, "0.3"), (1e-08, 1e-08, "0.00000001"), (5e-05, 1e-05, "0.00005"), (-2.5, 0.5, "-2.5"),
        (29.0, 1.0, "29"), (1200.0, 100.0, "1200"), (61837.6, 0.1, "61837.6"), (-0.0, 0.1, "0"), (1e16, 1.0, "10000000000000000"),
        (0.1 + 0.2, 0.0, "0.30000000000000004"), (1e-7, 0.0, "0.0000001"),
    ],
)  # fmt: skip
def test_messages_by_hand(value, step, expected):
    assert to_venue(value, step) == expected


@given(value=st.one_of(sizes, sizes.map(lambda size: -size)), step=steps)
def test_a_message_is_an_exact_multiple_of_the_step(value, step):
    assume(step > 1e-11 * abs(value))  # a step beyond float64's digits is none
    rounded = round_quantity(value, step)
    text = to_venue(rounded, step)
    assert Decimal(text) % Decimal(repr(step)) == 0 and "e" not in text.lower()
    assert Decimal(text) == toward_zero(value, step)
    assert float(text) == pytest.approx(rounded, rel=1e-15)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_without_a_step_a_message_reads_back_as_the_same_float(value):
    assert float(to_venue(value, 0.0)) == value and "e" not in to_venue(value, 0.0)


@given(count=st.integers(1, 10**6), part=st.floats(0.01, 0.99), step=steps)
def test_a_message_never_rounds(count, part, step):
    value = (count + part) * step
    assume(abs(value / step - count - part) < 1e-6)
    with pytest.raises(UsageError, match="expected a multiple of"):
        to_venue(value, step)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: to_venue(math.nan, 0.1), "to_venue: value"),
        (lambda: to_venue(math.inf, 0.1), "to_venue: value"),
        (lambda: to_venue(1.0, -0.1), "to_venue: step"),
        (lambda: to_venue(1e16, 0.3), "expected a multiple"),
        (lambda: Instrument(lot=-0.1), "instrument.lot"),
        (lambda: Instrument(tick=math.nan), "instrument.tick"),
        (lambda: Instrument(min_notional="5"), "instrument.min_notional"),
        (lambda: Instrument(spot=1), "instrument.spot"),
    ],
)
def test_refuses_what_makes_no_sense(build, words):
    with pytest.raises(UsageError, match=words):
        build()


def test_the_least_notional_counts_as_enough():
    assert meets_minimum(-0.05, 100.0, 5.0) and not meets_minimum(0.049, 100.0, 5.0) and meets_minimum(0.0, 100.0, 0.0)
