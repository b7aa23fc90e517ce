"""The stationary bootstrap: what it keeps, what it draws, how long its blocks should be."""

import numpy as np
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.validation.bootstrap import block_length, resample


def autoregression(rho, n, seed=0):
    noise = np.random.default_rng(seed).normal(size=n)
    out = np.zeros(n)
    for k in range(1, n):
        out[k] = rho * out[k - 1] + noise[k]
    return out


def drawn(returns, **changes):
    return resample(returns, **({"paths": 200, "block": 20.0, "seed": 3, "steps": [1, 250, 500]} | changes))


RETURNS = np.random.default_rng(7).normal(1e-3, 0.02, 500)


def test_a_path_tells_the_same_by_its_curve_and_by_its_figures():
    found = drawn(RETURNS, paths=20, steps=np.arange(1, 501))
    curve = np.column_stack([np.ones(20), found.curves])
    change = curve[:, 1:] / curve[:, :-1] - 1
    np.testing.assert_allclose(found.final, curve[:, -1], rtol=1e-12)
    np.testing.assert_allclose(found.mean, change.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(found.deviation, change.std(axis=1, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(found.max_drawdown, (1 - curve / np.maximum.accumulate(curve, axis=1)).max(axis=1), rtol=1e-9)
    np.testing.assert_allclose(found.lowest, curve.min(axis=1), rtol=1e-12)


def test_blocks_are_stretches_of_the_original_of_geometric_length():
    """Returns that name their own place: a step that is not to the next place (the end is followed by the beginning) begins a block."""
    n, block = 1000, 25.0
    found = resample(np.arange(n) * 1e-6, paths=50, block=block, seed=0, steps=np.arange(n + 1)[1:])
    change = np.diff(np.column_stack([np.ones(50), found.curves])) / np.column_stack([np.ones(50), found.curves[:, :-1]])
    place = np.rint(change * 1e6).astype(int)
    breaks = (np.diff(place, axis=1) % n != 1).sum()
    assert breaks / (50 * (n - 1)) == pytest.approx(1 / block, rel=0.1)
    counts = np.bincount(place.ravel(), minlength=n)
    assert counts.min() > 0 and counts.mean() == 50  # every bar may come, ends as often as the middle
    assert counts[:50].mean() == pytest.approx(50, rel=0.2) and counts[-50:].mean() == pytest.approx(50, rel=0.2)


def test_single_draws_have_the_spread_of_independent_ones():
    found = drawn(RETURNS, paths=4000, block=1.0, steps=[])
    assert found.mean.mean() == pytest.approx(RETURNS.mean(), abs=4 * RETURNS.std() / np.sqrt(500 * 4000))
    assert found.mean.std() == pytest.approx(RETURNS.std() / np.sqrt(500), rel=0.05)


def test_long_blocks_keep_the_spread_that_dependence_brings():
    """The mean of an autoregression varies 1 / (1 - rho) times as much as single draws say."""
    series = autoregression(0.6, 4000) * 1e-3
    single, blocks = (drawn(series, block=block, steps=[]).mean.std() for block in (1.0, 60.0))
    assert blocks / single == pytest.approx(np.sqrt((1 + 0.6) / (1 - 0.6)), rel=0.2)


def test_a_seed_is_a_promise_and_seeds_differ():
    one, same, other = drawn(RETURNS), drawn(RETURNS), drawn(RETURNS, seed=4)
    assert all((a == b).all() for a, b in zip(one, same)) and (one.final != other.final).all()


def test_ruin_stays_ruin():
    found = drawn(np.append(RETURNS, -1.0), steps=[501])
    assert (found.final[found.max_drawdown == 1.0] == 0.0).all() and (found.max_drawdown == 1.0).any()


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.8])
def test_block_length_is_that_of_an_autoregression(rho):
    """g = R(0) (1 + rho) / (1 - rho) and G = R(0) 2 rho / (1 - rho)^2, so the rule gives ((2 rho / (1 - rho^2))^2 n)^(1/3)."""
    n = 100_000
    found = np.median([block_length(autoregression(rho, n, seed)) for seed in range(5)])
    assert found == pytest.approx(((2 * rho / (1 - rho**2)) ** 2 * n) ** (1 / 3), rel=0.15)


def test_block_length_of_what_depends_on_nothing_is_short_and_never_too_long():
    assert np.median([block_length(np.random.default_rng(seed).normal(size=5000)) for seed in range(9)]) < 4.0
    assert block_length(np.ones(100)) == block_length(np.arange(3.0)) == 1.0
    assert 1.0 <= block_length(np.cumsum(RETURNS)) <= 500 / 3


def test_unfit_input_is_refused():
    for returns in ([0.1], [0.1, -1.1], [0.1, float("nan")]):
        with pytest.raises(DataError, match="returns"):
            drawn(np.array(returns))
    for changes in ({"paths": 0}, {"block": 0.5}, {"block": 501.0}):
        with pytest.raises(UsageError, match="bootstrap"):
            drawn(RETURNS, **changes)
