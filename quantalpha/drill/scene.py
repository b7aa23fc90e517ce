"""Where a drill is played: a market that goes wrong when it is told to, an account on it, and a bundle that holds a position."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config, schema, timeframe
from quantalpha.bundle import Bundle
from quantalpha.errors import ExchangeError
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.perp import Stops
from quantalpha.practice import ApiKey, Tape
from quantalpha.practice.background import played
from quantalpha.practice.server import Server
from quantalpha.runner.accounts import AccountFolder, name_of
from quantalpha.runner.gates import needed_history
from quantalpha.workspace import LOCK

CAPITAL = 100_000.0  # all that lies in the account: what a liquidation leaves is still enough to trade with
PACE = 2.0  # bars a second
AHEAD = 120  # bars that must follow without a hole
PRICES = ["open", "high", "low", "close", "mark"]
WIDE = {  # limits that no drill meets, unless it is about them
    "switches": {
        "daily_loss": 0.99, "drawdown": 0.99, "consecutive_losses": 10_000, "volatility": 1e9, "api_errors": 0.999, "silence": 3600.0,
        "clock_skew": 1e9, "min_liquidation_distance": 1e-9, "out_of_distribution": 0.999, "unprotected": 3600.0,
    },
    "risk": {
        "per_trade": 0.98, "max_position": None, "max_gross": None, "max_net": None, "max_concentration": None, "max_var": None,
        "max_cvar": None, "min_liquidation_distance": 1e-9, "max_liquidation_probability": 0.99,
    },
    "runner": {
        "bars": AHEAD, "stale_after": 1e6, "retries": 100, "max_model_age": None, "feed": "rest", "orders": "send", "on_stop": "keep",
        "watchdog": False, "dead_man": 3.0,
    },
    "execution": {"algorithm": "market", "max_slippage": 0.5},
}  # fmt: skip


def with_values(params: config.Params, changes: dict[str, dict]) -> config.Params:
    """The parameters with these values of these sections."""
    return params.model_copy(update={name: getattr(params, name).model_copy(update=values) for name, values in changes.items()})


@dataclass(frozen=True)
class Hold:
    """The drill's policy: long at every bar, whatever the model says, as long as it says anything; `turns`: long and flat in turn."""

    leverage: float
    turns: bool = False

    def step(self, edge: float, previous: float) -> float:
        return self.leverage if isfinite(edge) and not (self.turns and previous) else 0.0


@dataclass(frozen=True)
class Stage:
    """What all exercises share. bars: the tape as it is where nothing happens; first: its row at which the exchange's clock starts."""

    bundle: Bundle
    params: config.Params
    root: Path
    bars: pd.DataFrame
    first: int

    @classmethod
    def build(cls, bundle: Bundle, params: config.Params, root: Path) -> "Stage":
        params = with_values(params, WIDE)
        rows = needed_history(params, bundle.features.lookback)
        bars = _tape(bundle, params, rows)
        root.mkdir(parents=True)
        shutil.copy(config.path(LOCK), root)
        return cls(bundle, params, root, bars, _start(bars, bundle.timeframe, rows))

    def actor(self, policy: Hold) -> Bundle:
        """The bundle with the drill's policy, and an account that lets it."""
        account = replace(self.bundle.account, leverage=5.0, margin_mode="cross", rebalance_band=None, initial_cash=CAPITAL)
        return replace(self.bundle, policy=policy, account=account, stops=Stops())

    @contextmanager
    def scene(self, bundle: Bundle, bars: pd.DataFrame, changes: dict[str, dict]) -> Iterator["Scene"]:
        """An exchange of its own, and parameters that point to it."""
        step = timeframe.milliseconds(bundle.timeframe)
        options = {"speed": PACE * step / 1000, "now": int(schema.epoch_ms(bars.index)[self.first]), "keys": [ApiKey(deposit=CAPITAL)]}
        with played(Tape({bundle.symbol: bars}), **options) as server:
            source = self.params.venue.kept_as
            venue = {"rest_url": server.url, "ws_url": server.ws_url, "source": source}
            scene = Scene(server, bundle, with_values(with_values(self.params, {"venue": venue}), changes), self.root)
            try:
                yield scene
            finally:
                scene.close()


@dataclass
class Scene:
    """One exercise's exchange and session. root: the drill's workspace."""

    server: Server
    bundle: Bundle
    params: config.Params
    root: Path
    _processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def account(self) -> AccountFolder:
        return AccountFolder(name_of("rehearse", self.params.venue), self.root / "data/accounts")

    @property
    def card(self) -> dict:
        """Enough for a client of the account: see `runner.emergency`."""
        return {"mode": "rehearse", "venue": self.params.venue.model_dump(mode="json")}

    def command(self, *words: str) -> None:
        """`quantalpha WORDS` in a process of its own, in the drill's workspace; waited for at the end."""
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = os.environ | {"QUANTALPHA_ROOT": str(self.root)}
        self._processes.append(subprocess.Popen([sys.executable, "-m", "quantalpha", *words], env=environment, **quiet))

    def close(self) -> None:
        for process in self._processes:
            process.wait(60.0)


def _tape(bundle: Bundle, params: config.Params, rows: int) -> pd.DataFrame:
    """A fair synthetic market, from when the model was new; its crash lies beyond what is played."""
    step = pd.Timedelta(milliseconds=timeframe.milliseconds(bundle.timeframe))
    start = (bundle.until - (rows - 24) * step).to_pydatetime()
    settings = {"start": start, "bars": max(1000, 4 * (rows + 2 * AHEAD)), "timeframe": bundle.timeframe, "edge": {bundle.symbol: 0.0}}
    return synthetic_bars(bundle.symbol, params.synthetic.model_copy(update=settings))


def _start(bars: pd.DataFrame, name: str, rows: int) -> int:
    """The first row with enough history before it and no hole around it."""
    times = schema.epoch_ms(bars.index)
    whole = np.flatnonzero(times[rows + AHEAD :] - times[: -rows - AHEAD] == (rows + AHEAD) * timeframe.milliseconds(name))
    if not len(whole):
        raise ExchangeError("drill: the synthetic tape has no stretch without a hole; choose another synthetic.seed")
    return int(whole[0]) + rows
