"""A million random event sequences through the ledger, every fill audited: no law of the money may be broken.

python benchmarks/random_events.py [sequences] [--seed 0] [--first 0]

A sequence: 24 bars of one to three symbols in one account, with random moves, gaps, marks, funding, missing bars, targets, limits, stops,
brackets, costs, delays, lots and margin modes; see tests/sequences.py for what is drawn, tests/audit.py for the laws. A batch has its own
seed, so a run that was cut off goes on with `--first` at the batch it printed last. Exit code 1 if a law is broken.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from audit import audit  # noqa: E402
from sequences import draw, live  # noqa: E402

SIZE = 10_000  # sequences a batch
SYMBOLS = (1, 2, 1, 3)  # of batch after batch


def main(sequences: int, seed: int, first: int) -> int:
    start, lived_for, events, broken, worst = time.perf_counter(), 0.0, Counter(), {}, 0.0
    last = first + -(-sequences // SIZE)
    for number in range(first, last):
        batch, worlds = draw(np.random.default_rng([seed, number]), SIZE, SYMBOLS[number % len(SYMBOLS)])
        began = time.perf_counter()
        lived = live(batch, worlds)
        lived_for += time.perf_counter() - began
        auditor = audit(batch, lived)
        worst = max(worst, auditor.worst_error)
        bars, decisions = int(auditor.present.sum()), int((~np.isnan(batch.target)).sum())
        events += Counter(bars=bars, decisions=decisions, fills=len(lived.fills), payments=len(lived.paid))
        for law, culprits in auditor.broken.items():
            broken.setdefault(law, []).extend((number, int(culprit)) for culprit in culprits)
            print(f"broken in batch {number}: {law}: sequences {culprits[:5].tolist()}", flush=True)
        if (number + 1) % 10 == 0 or number + 1 == last:
            print(
                f"batch {number + 1} of {last}: {(number + 1 - first) * SIZE:,} sequences, {time.perf_counter() - start:.0f} s", flush=True
            )
    told = ", ".join(f"{count:,} {name}" for name, count in events.items())
    print(f"{(last - first) * SIZE:,} sequences of seed {seed}, {events.total():,} events: {told}")
    print(f"{time.perf_counter() - start:.0f} s, of which {lived_for:.0f} s in the clock; wallets add up to {worst:.1e} of what moved")
    print(f"{sum(map(len, broken.values())):,} broken laws")
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequences", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="batch to begin with")
    given = parser.parse_args()
    sys.exit(main(given.sequences, given.seed, given.first))
