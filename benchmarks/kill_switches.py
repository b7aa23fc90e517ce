"""A million random paths of equity, and as many of trades: does a kill switch ever stay silent beyond its limit, or trip within it?

    python benchmarks/kill_switches.py [--paths 1000000] [--seed 0]

Each path is judged a second time by a plain reading of the rule over the whole path, in numpy. Every fiftieth value is NaN, after which
nothing may stay untripped. Prints the tally and the rate; exits 1 where the two differ anywhere.
"""

import argparse
import sys
import time

import numpy as np

from quantalpha.runner.events import EquityEvent, FillEvent
from quantalpha.runner.switches import ConsecutiveLosses, DailyLoss, Drawdown
from quantalpha.runner.views import AccountView

STEPS, HOUR, DAY = 8, 3_600_000, 86_400_000
NO_NUMBER = 0.02  # share of the values


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--paths", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, started, wrong = np.random.default_rng(asked.seed), time.perf_counter(), 0
    for name, judge in (("daily loss", daily_loss), ("drawdown", drawdown), ("losses in a row", losses)):
        paths, tripped, differing = judge(rng, asked.paths)
        wrong += differing
        print(f"{name:16} {paths:>9,} paths  {tripped:>9,} beyond the limit  {differing} judged otherwise by the switch")
    print(f"{3 * asked.paths * STEPS / (time.perf_counter() - started):,.0f} events a second")
    sys.exit(wrong > 0)


def equities(rng: np.random.Generator, paths: int) -> tuple[np.ndarray, np.ndarray]:
    """(times, equities), a row a path: fat-tailed steps some hours apart."""
    values = 100 * np.exp(np.cumsum(rng.standard_t(3, (paths, STEPS)) * 0.02, axis=1))
    values[rng.random(values.shape) < NO_NUMBER] = np.nan
    return np.cumsum(rng.integers(1, 12, values.shape), axis=1) * HOUR + 1, values


def daily_loss(rng: np.random.Generator, paths: int) -> tuple[int, int, int]:
    times, values = equities(rng, paths)
    days, base = times // DAY, values.copy()
    for step in range(1, STEPS):
        same = days[:, step] == days[:, step - 1]
        base[:, step] = np.where(same, base[:, step - 1], values[:, step - 1])
    return tally(DailyLoss, 0.05, times, values, 1 - values / base)


def drawdown(rng: np.random.Generator, paths: int) -> tuple[int, int, int]:
    times, values = equities(rng, paths)
    return tally(Drawdown, 0.2, times, values, 1 - values / np.fmax.accumulate(values, axis=1))


def tally(kind, limit: float, times: np.ndarray, values: np.ndarray, loss: np.ndarray) -> tuple[int, int, int]:
    """(paths, those with a loss beyond the limit, those where the switch's first trip is elsewhere)."""
    beyond = ~(loss <= limit)
    expected = np.where(beyond.any(axis=1), beyond.argmax(axis=1), STEPS)
    found = np.array([first_trip(kind(limit), path, row) for path, row in zip(times.tolist(), values.tolist())])
    return len(values), int(beyond.any(axis=1).sum()), int((found != expected).sum())


def first_trip(switch, times: list[int], values: list[float]) -> int:
    for step, (time_ms, value) in enumerate(zip(times, values)):
        told = EquityEvent(event_time=time_ms, recv_time=time_ms, symbol="", bar=0, equity=value, cash=value, quantity=0.0, price=1.0)
        if switch.see(AccountView(value, time=time_ms), told) is not None:
            return step
    return STEPS


def losses(rng: np.random.Generator, paths: int) -> tuple[int, int, int]:
    """Fills of whole trades, of which three lost in a row trip."""
    results = np.round(rng.normal(-0.2, 1.0, (paths, STEPS // 2)), 1)
    results[rng.random(results.shape) < NO_NUMBER] = np.nan
    lost, streak, expected = ~(results >= 0), np.zeros(paths, dtype=int), np.full(paths, STEPS)
    for step in range(results.shape[1]):
        streak = np.where(lost[:, step], streak + 1, 0)
        trips = (streak >= 3) | np.isnan(results[:, step])
        expected = np.where(trips & (expected == STEPS), step, expected)
    found = np.array([first_loss(ConsecutiveLosses(3), row) for row in results.tolist()])
    return paths, int((expected < STEPS).sum()), int((found != expected).sum())


def first_loss(switch, results: list[float]) -> int:
    view = AccountView(1.0)
    for step, result in enumerate(results):
        for quantity, realised in ((1.0, 0.0), (-1.0, result)):
            times = {"event_time": step, "recv_time": step, "symbol": "BTCUSDT", "bar": 0}
            told = FillEvent(**times, client_id=None, quantity=quantity, price=1.0, fee=0.0, realised=realised, reason="order")
            if switch.see(view, told) is not None:
                return step
    return STEPS


if __name__ == "__main__":
    main()
