"""Can luck pass, and can skill: the best of many tries before the gate's lines about luck, over five years of days.

python benchmarks/noise_and_power.py [minutes] [folder of recorded market data]

Noise: tries that are worth nothing, by themselves or as moving-average rules on a fair market or on bitcoin's days put in random order, no
costs taken. Power: one try among them has a true Sharpe ratio, and whichever looks best is judged. `passes` is the share of runs whose best
passes the lines deflated_sharpe and overfitting at the thresholds of params.yaml, `naive` the share whose best looks significant by itself
(probabilistic Sharpe ratio above the same 0.95), each with its 95 % interval (Wilson); `theory` is the chance that the planted try beats
the luckiest of the others by as much as the deflated ratio asks for.
"""

import sys
import time
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.promotion.gate_tries import deflated, overfitted
from quantalpha.validation import evidence, expected_maximum_sharpe

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DAYS, YEAR = 5 * 365, 365
GATE = config.load("default").gate
TRIES, SHARPES = (10, 100, 1000), (1.0, 1.5, 2.0, 3.0)
NORMAL = NormalDist()


def alone(rng: np.random.Generator, tries: int) -> np.ndarray:
    """Independent returns without a mean."""
    return 0.01 * rng.standard_normal((DAYS, tries))


def rules(market: np.ndarray, tries: int) -> np.ndarray:
    """Long above, short below: `tries` pairs of moving averages of the log price, traded at the next day's return."""
    price = np.cumsum(market)
    total = np.concatenate([[0.0], np.cumsum(price)])
    windows = np.unique(np.geomspace(1, 300, 60).astype(int))
    average = {w: np.concatenate([np.full(w - 1, np.nan), (total[w:] - total[:-w]) / w]) for w in windows}
    pairs = [(fast, slow) for fast in windows for slow in windows if slow > 1.2 * fast]
    chosen = [pairs[k] for k in np.linspace(0, len(pairs) - 1, tries).astype(int)]
    sides = np.column_stack([np.nan_to_num(np.sign(average[fast] - average[slow])) for fast, slow in chosen])
    return sides[-DAYS - 1 : -1] * market[-DAYS:, None]


def on_a_fair_market(rng: np.random.Generator, tries: int) -> np.ndarray:
    return rules(0.03 * rng.standard_t(4, DAYS + 300) / np.sqrt(2), tries)


def on_shuffled_days(days: np.ndarray):
    return lambda rng, tries: rules(rng.permutation(np.resize(days, DAYS + 300)), tries)


def planted(sharpe: float):
    """The first try earns; returns of the others without a mean."""

    def make(rng: np.random.Generator, tries: int) -> np.ndarray:
        returns = alone(rng, tries)
        returns[:, 0] += 0.01 * sharpe / np.sqrt(YEAR)
        return returns

    return make


def judged(returns: np.ndarray) -> tuple[bool, bool, float]:
    """(passes, looks significant by itself, days still needed) of the best in sample."""
    best = int(np.argmax(returns.mean(axis=0) / np.maximum(returns.std(axis=0), 1e-12)))
    found = evidence(returns, best, confidence=GATE.min_deflated_sharpe)
    lines = deflated(found, GATE.min_deflated_sharpe, "the best of all"), overfitted(found, GATE.max_overfitting)
    return all(line.passed for line in lines), found.psr > GATE.min_deflated_sharpe, found.still_needed


def share(passed: list[bool]) -> str:
    """Wilson's interval (1927) around the share."""
    n, p, z = len(passed), np.mean(passed), 1.959964
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"{p:6.1%} ({max(middle - half, 0.0):.0%} to {min(middle + half, 1.0):.0%})"


def theory(sharpe: float, tries: int) -> float:
    luck = expected_maximum_sharpe(tries, 1 / np.sqrt(DAYS)) if tries > 1 else 0.0
    return NORMAL.cdf((sharpe / np.sqrt(YEAR) - luck) * np.sqrt(DAYS) - NORMAL.inv_cdf(GATE.min_deflated_sharpe))


def runs(make, tries: int, seconds: float) -> list[tuple[bool, bool, float]]:
    """As many as fit, at least 20; each with its own seed."""
    begun, found = time.perf_counter(), []
    while len(found) < 20 or (time.perf_counter() - begun < seconds and len(found) < 400):
        found.append(judged(make(np.random.default_rng([tries, len(found)]), tries)))
    return found


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else DATA
    noise = {"by themselves": alone, "rules on a fair market": on_a_fair_market}
    recorded = folder / "binance_spot_BTCUSDT_1d.parquet"
    if recorded.is_file():
        days = np.diff(np.log(pd.read_parquet(recorded)["close"].to_numpy()))
        noise["rules on shuffled bitcoin"] = on_shuffled_days(days - days.mean())
    seconds = 60.0 * minutes / (len(TRIES) * (len(noise) + len(SHARPES)))
    print(f"noise{'':28s}{'tries':>6s}{'runs':>6s}   {'passes':22s}{'naive':22s}")
    for name, make in noise.items():
        for tries in TRIES:
            found = runs(make, tries, seconds)
            passes, naive, _ = zip(*found)
            print(f"{name:33s}{tries:6d}{len(found):6d}   {share(passes):22s}{share(naive):22s}", flush=True)
    print(f"\npower: true Sharpe ratio{'':9s}{'tries':>6s}{'runs':>6s}   {'passes':22s}{'theory':>7s}   {'years still needed, median'}")
    for sharpe in SHARPES:
        for tries in TRIES:
            found = runs(planted(sharpe), tries, seconds)
            passes, _, needed = zip(*found)
            years = np.median(needed) / YEAR
            print(f"{sharpe:33.1f}{tries:6d}{len(found):6d}   {share(passes):22s}{theory(sharpe, tries):7.0%}   {years:8.1f}", flush=True)


if __name__ == "__main__":
    main()
