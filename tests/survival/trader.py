"""A session in a process of its own, which decides at random and dies when its time has come."""

import os
import random
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from quantalpha import config, features
from quantalpha.bundle import Bundle
from quantalpha.errors import QuantalphaError
from quantalpha.files import sha256
from quantalpha.perp import Account, Costs, Stops, brackets_for
from quantalpha.runner import Request, live, run_session
from quantalpha.runner.events import Event, kind_of
from survival.exchange import DEPOSIT
from survival.schedule import Doom, Schedule

ROOT = Path(__file__).resolve().parents[2]
LOCK = sha256(ROOT / "requirements.lock")
WORD = struct.Struct("cd")  # what was reached, and when: monotonic seconds
AGREEING, READY, EVENT = b"A", b"R", b"E"
NAME = "survivor"
SETTINGS = [
    "venue.source=practice", "venue.timeout=1.0", "runner.watchdog=false", "runner.max_model_age=null", "runner.retries=3",
    "risk.history=30", "risk.max_var=null", "risk.max_cvar=null", "risk.orders_per_minute=10000",
    "switches.daily_loss=0.9", "switches.drawdown=0.9",
    "switches.consecutive_losses=100000", "switches.volatility=10000.0", "switches.volatility_bars=2", "switches.api_errors=0.99",
    "switches.clock_skew=1000.0", "runner.stale_after=40.0",
]  # fmt: skip
LEVERAGE = 1.0


class Whim:
    """A model's and a policy's place: changes its mind at random, so often; `calm` decisions on it wants what it has."""

    leverage = LEVERAGE

    def __init__(self, seed: object, calm: int | None):
        self._rng, self._left = random.Random(repr(seed)), calm

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.full((len(rows), 3), 1 / 3)

    def step(self, edge: float, previous: float) -> float:
        if self._left is not None:
            self._left -= 1
        if self._left is not None and self._left < 0 or self._rng.random() < 0.4:
            return previous
        return self._rng.choice((-1.0, -0.5, 0.0, 0.5, 1.0)) * LEVERAGE


CLOSE = features.FeatureSet([features.Feature("last", 1, ("close",), lambda bars: bars["close"])])


def bundles(schedule: Schedule, folder: Path, life: int, calm: int | None) -> list[Bundle]:
    account = Account(DEPOSIT / 2, leverage=2.0, brackets=brackets_for("BTCUSDT"))
    manifest = {"until": "2021-01-01T00:00:00+00:00", "lock_sha256": LOCK}
    known = {"timeframe": "1m", "venue": "practice", "features": CLOSE, "account": account, "costs": Costs(0.0002, 0.0005, 0.0, 0.01)}
    known |= {"stops": Stops(**schedule.stops), "gate": {"passed": True, "lines": []}, "manifest": manifest, "seen": ([-np.inf], [np.inf])}
    made = []
    for symbol in schedule.symbols:
        whim = Whim((schedule.seed, life, symbol), calm)
        made.append(Bundle(id=f"{symbol.lower():a<64}", folder=folder, symbol=symbol, model=whim, policy=whim, **known))
    return made


@cache
def loaded() -> config.Params:
    return config.load(overrides=SETTINGS, source=ROOT / "params.yaml")


def settings(schedule: Schedule, url: str, ws_url: str) -> config.Params:
    params = loaded()
    venue = params.venue.model_copy(update={"name": schedule.venue, "rest_url": url, "ws_url": ws_url})
    runner = params.runner.model_copy(update={"feed": schedule.feed, "on_stop": schedule.on_stop})
    return params.model_copy(update={"venue": venue, "runner": runner, "execution": params.execution.model_copy(update=schedule.execution)})


@dataclass(frozen=True)
class Trader:
    """doom: None: lives until it is asked to stop. tell: a pipe's end for WORDs."""

    schedule: Schedule
    folder: Path
    params: config.Params
    life: int
    doom: Doom | None
    tell: int

    def run(self) -> None:
        """In a process of its own, which ends with it."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with open(self.folder / f"life-{self.life}.log", "w", buffering=1) as log:
            sys.stdout = sys.stderr = log
            os.dup2(log.fileno(), 2)
            self._measure()
            sys.exit(self.trade())

    def trade(self) -> int:
        """The exit code of a session."""
        calm = 4 if self.doom is None else None
        request = Request("rehearse", NAME, resume=self.resumes, sessions=self.folder / "sessions", watching=self._watching)
        try:
            run_session(bundles(self.schedule, self.folder, self.life, calm), self.params, request)
        except QuantalphaError as error:
            print(f"{type(error).__name__}: {error}")
            return error.exit_code
        except Exception:
            traceback.print_exc()
            return 1
        return 0

    @property
    def resumes(self) -> bool:
        """One that died before it had its card has never begun."""
        folder = self.folder / "sessions" / NAME
        begun = (folder / "session.json").exists()
        if not begun and folder.exists():
            folder.rename(folder.with_name(f"{NAME}-unborn-{self.life}"))
        return begun

    def _measure(self) -> None:
        agree, tick = live.agree, live.Live._tick

        async def told_agree(*given, **named):
            self._say(AGREEING)
            await agree(*given, **named)

        def told_tick(session):
            live.Live._tick = tick
            tick(session)
            self._say(READY)

        live.agree, live.Live._tick = told_agree, told_tick

    def _say(self, word: bytes) -> None:
        os.write(self.tell, WORD.pack(word, time.monotonic()))

    @contextmanager
    def _watching(self, folder: Path, past: Sequence[Event]):
        seen: Counter[str] = Counter()

        def heard(event: Event) -> None:
            seen["any"] += 1
            seen[kind_of(event)] += 1
            doom = self.doom
            if doom is not None and doom.kind in ("any", kind_of(event)) and seen[doom.kind] == doom.count:
                if doom.after == 0.0:
                    os.kill(os.getpid(), signal.SIGKILL)
                self._say(EVENT)

        yield [heard]
