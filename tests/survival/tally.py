"""Many schedules by many hands at once, and what came of all of them together."""

import gc
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from quantalpha import config
from quantalpha.practice import Tape
from survival import laws, play
from survival.play import FORK, Played
from survival.schedule import draw
from survival.trader import ROOT

HANDS_OFF = 1.0  # seconds in which a hand that has nothing left to do is gone


@dataclass(frozen=True)
class Verdict:
    """What is left of one schedule. bare: seconds of the longest stretch in which a position lacked its stop while a session lived, and
    while none did."""

    seed: int
    broken: tuple[str, ...]
    venue: str = ""
    algorithm: str = ""
    kills: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    fills: int = 0
    funded: int = 0
    halted: bool = False
    left: int = 0  # sessions that the venue's faults ended
    recoveries: tuple[float, ...] = ()
    bare: tuple[float, float] = (0.0, 0.0)


def tape() -> Tape:
    params = config.load(overrides=["synthetic.bars=3000", "synthetic.timeframe=1m"], source=ROOT / "params.yaml")
    return Tape.synthetic(params.synthetic)


def verdicts(first: int, count: int, workers: int, folder: Path) -> Iterator[Verdict]:
    """As they come. folder: keeps the remains of schedules in which a law was broken."""
    told = tape()
    play.rehearse(told)
    gc.collect()
    gc.freeze()
    seeds, results = FORK.SimpleQueue(), FORK.SimpleQueue()
    hands = [FORK.Process(target=_hand, args=(told, folder, seeds, results)) for _ in range(workers)]
    for hand in hands:
        hand.start()
    try:
        for seed in range(first, first + min(count, workers)):
            seeds.put(seed)
        for done in range(count):
            yield results.get()
            following = first + done + min(count, workers)
            seeds.put(following if following < first + count else None)
    finally:
        for hand in hands:
            hand.join(HANDS_OFF)
            hand.terminate()


def _hand(told: Tape, folder: Path, seeds, results) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # who is under way is taken along
    while (seed := seeds.get()) is not None:
        try:
            results.put(judge(seed, told, folder / f"{seed}"))
        except Exception as error:  # whatever happened, the schedule has not been survived
            results.put(Verdict(seed, (f"harness: {type(error).__name__}: {error}",)))


def judge(seed: int, told: Tape, folder: Path) -> Verdict:
    folder.mkdir(parents=True)
    played = play.play(draw(seed), told, folder)
    found = laws.broken(played)
    if not found:
        shutil.rmtree(folder)
    return _verdict(played, tuple(found))


def _verdict(played: Played, found: tuple[str, ...]) -> Verdict:
    books, lives = played.books, played.lives
    alive = max((laws.lived(played, each) for each in books.bare), default=0.0)
    alone = max((laws.deserted(played, each) for each in books.bare), default=0.0)
    return Verdict(
        played.schedule.seed, found, played.schedule.venue, played.schedule.execution["algorithm"],
        kills=sum(life.code == -9 for life in lives), faults=books.met, orders=len(books.orders), fills=len(books.fills),
        funded=books.funded, halted=lives[-1].code == 7 if lives else False, left=sum(life.code == 5 for life in lives),
        recoveries=tuple(life.recovery for life in lives[1:] if life.recovery is not None), bare=(alive, alone),
    )  # fmt: skip


def tally(all_of_them: list[Verdict]) -> str:
    """The table at the end."""
    lines = [f"{len(all_of_them):,} schedules", f"{sum(each.kills for each in all_of_them):,} kills"]
    faults = sum((Counter(each.faults) for each in all_of_them), Counter())
    lines.append(f"{faults.total():,} faults of {len(faults)} kinds")
    for name in ("orders", "fills", "funded", "left"):
        lines.append(f"{sum(getattr(each, name) for each in all_of_them):,} {name}")
    lines.append(f"{sum(each.halted for each in all_of_them):,} halted by a kill switch, and flat")
    lines += [f"{sum(each.venue == name for each in all_of_them):,} on {name}" for name in ("binanceusdm", "bybit")]
    laws_broken = Counter(line.split(":")[0] for each in all_of_them for line in each.broken)
    lines += [f"{laws_broken[name]:6} broken: {name}" for name in laws.NAMES]
    lines += ["recovery, seconds", *histogram([each for verdict in all_of_them for each in verdict.recoveries])]
    lines += ["longest stretch without a stop while a session lived, seconds", *histogram([each.bare[0] for each in all_of_them])]
    lines += ["... while none did", *histogram([each.bare[1] for each in all_of_them])]
    return "\n".join(lines)


EDGES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, float("inf"))


def histogram(values: list[float]) -> list[str]:
    counts = [sum(low <= value < high for value in values) for low, high in zip(EDGES, EDGES[1:])]
    rows = [f"  {low:>5g} to {high:<5g} {count:7,}" for (low, high), count in zip(zip(EDGES, EDGES[1:]), counts)]
    return [*rows, f"  longest {max(values, default=0.0):.2f}"]
