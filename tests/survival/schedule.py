"""What goes wrong, and when somebody is killed: everything that is random, from one seed."""

import random
from dataclasses import dataclass

from quantalpha import config

MINUTE, EIGHT_HOURS = 60_000, 8 * 3_600_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
VENUES, FEEDS = ("binanceusdm", "bybit"), ("socket", "rest")
PLACES = {"trading": config.TRADING_FAULTS, "account": config.TRADING_FAULTS, "stream": config.STREAM_FAULTS, "market": config.FAULTS}
LONGEST_LIFE = 6.0  # seconds until one whose event does not come is killed all the same
LONGEST_CONDITION = 0.4  # seconds


@dataclass(frozen=True)
class Doom:
    """When a session is killed. after: seconds from its start (kind time), or from the `count`-th event of that kind; 0.0: by itself, at
    that very event, before anything that follows it."""

    kind: str  # time | Instruction | Fill | any
    count: int = 1
    after: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """chances: of each fault, by where it happens; dooms: one for each life but the last, which ends in peace."""

    seed: int
    venue: str
    symbols: tuple[str, ...]
    speed: float
    start: int  # ms from the middle of the tape
    feed: str
    execution: dict
    stops: dict
    on_stop: str
    chances: dict[str, dict[str, float]]
    dooms: tuple[Doom, ...]
    pauses: tuple[float, ...]  # seconds between a death and the next life


def draw(seed: int) -> Schedule:
    rng = random.Random(seed)
    venue = rng.choice(VENUES)
    lives = rng.choice((1, 1, 2, 2, 3, 4))
    return Schedule(
        seed=seed,
        venue=venue,
        symbols=SYMBOLS if rng.random() < 0.2 else SYMBOLS[:1],
        speed=rng.choice((60.0, 120.0, 240.0)),
        start=rng.randrange(0, 10 * MINUTE) if rng.random() < 0.5 else rng.randrange(0, EIGHT_HOURS),
        feed=rng.choices(FEEDS, (3, 1))[0],
        execution=_execution(rng),
        stops=_stops(rng),
        on_stop=rng.choice(("keep", "cancel", "flatten")),
        chances=_chances(rng, venue),
        dooms=tuple(_doom(rng) for _ in range(lives)),
        pauses=tuple(rng.choice((0.0, 0.1, 0.6)) for _ in range(lives)),
    )


def _execution(rng: random.Random) -> dict:
    algorithm = rng.choice(("market", "market", "limit", "twap", "adaptive"))
    return {"algorithm": algorithm, "urgency": 2.0, "chase": 0.4, "chases": 2, "slices": 3, "fallback": rng.choice(("market", "cancel"))}


def _stops(rng: random.Random) -> dict:
    stops = {"stop_loss": rng.choice((None, 0.002, 0.006)), "take_profit": rng.choice((None, None, 0.003))}
    return stops | {"trailing_stop": rng.choice((None, None, 0.003)), "max_bars": rng.choice((None, None, None, 6))}


def _chances(rng: random.Random, venue: str) -> dict[str, dict[str, float]]:
    """Some faults of each place, of a total that is often small and now and then a third."""
    return {place: _some(rng, _possible(names, venue), 0.1 if place == "market" else 0.35) for place, names in PLACES.items()}


def _possible(names: tuple[str, ...], venue: str) -> tuple[str, ...]:
    """Without Bybit's ban of an address, which lasts ten minutes."""
    return tuple(name for name in names if (name, venue) != ("http_418", "bybit"))


def _some(rng: random.Random, names: tuple[str, ...], most: float) -> dict[str, float]:
    total = rng.choice((0.0, 0.2, 1.0)) * most
    chosen = rng.sample(names, k=rng.randint(1, min(6, len(names))))
    return {name: total / len(chosen) for name in chosen}


def _doom(rng: random.Random) -> Doom:
    kind = rng.choice(("time", "time", "Instruction", "Instruction", "Fill", "any"))
    if kind == "time":
        return Doom(kind, after=rng.choice((0.6, 2.0, 4.0)) * rng.random())
    count = rng.randint(1, 60) if kind == "any" else rng.randint(1, 4)
    return Doom(kind, count, rng.choice((0.0, 0.0, 0.005, 0.05)) * rng.random())
