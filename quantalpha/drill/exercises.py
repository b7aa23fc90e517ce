"""What trips each kill switch: real causes, and the limits that they are measured against. Which limits are tightened, so that nobody waits
for minutes, stands in the words of the exercise; the others are the user's own."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from quantalpha import config, timeframe
from quantalpha.drill.scene import PACE, PRICES, Hold, Scene
from quantalpha.practice.conditions import Sizes
from quantalpha.runner import emergency
from quantalpha.runner.events import InstructionEvent

LASTING = 3600.0  # seconds, longer than any drill
JUMP, FALL = 0.3, 0.985  # fraction of the price, in one bar; factor of the price, bar by bar
BEYOND = 0.15  # fraction by which the price falls below a limit, whatever it has gained since
SOON = 5  # bars after the first in which the tape goes wrong
FILLED, PROTECTED, CHECKED, TAPE, STOPPED = "filled", "protected", "checked", "tape", "stopped"
Provoke = Callable[[Scene], Awaitable[None]]
Bars = Callable[[pd.DataFrame, int], pd.DataFrame]  # (bars, row at which the clock starts) -> the tape


async def nothing(scene: Scene) -> None:
    """The tape does it."""


def as_it_is(bars: pd.DataFrame, first: int) -> pd.DataFrame:
    return bars


@dataclass(frozen=True)
class Exercise:
    """name: as it latches; how: in words; changes: of the parameters, by section.

    when: FILLED: provoked at the first fill; PROTECTED: once its stop rests at the venue; CHECKED: once the venue's
    clock is known as well; TAPE: by the bars themselves; STOPPED: by stopping
    the session's process, whose watchdog must act. relent: ends what must end before an account can be made flat.
    """

    name: str
    how: str
    changes: Mapping[str, dict] = field(default_factory=dict)
    provoke: Provoke = nothing
    when: str = PROTECTED
    relent: Callable[[Scene], None] = lambda scene: None
    policy: Hold = Hold(1.0)
    tape: Bars = as_it_is
    expires: bool = False  # runner.max_model_age runs out soon after the start


def exercises(params: config.Params) -> list[Exercise]:
    """Every switch there is, the order to kill, and the watchdog."""
    own = params.switches
    return [*_money(own), *_market(own), *_line(own), *_model(own), *_state(), *_from_outside()]


def _money(own: config.Switches) -> list[Exercise]:
    """At a leverage of 1 the equity falls as far as the price."""
    day, peak = min(0.9, own.daily_loss + BEYOND), min(0.9, own.drawdown + BEYOND)
    losses = min(own.consecutive_losses, 5)
    return [
        Exercise("daily_loss", f"price gap of {-day:.0%}", _limit(daily_loss=own.daily_loss), _gap(-day)),
        Exercise("drawdown", f"price gap of {-peak:.0%}", _limit(drawdown=own.drawdown), _gap(-peak)),
        Exercise(
            "consecutive_losses", f"{losses} longs in a falling market", _limit(consecutive_losses=losses), when=TAPE,
            policy=Hold(1.0, turns=True), tape=falling,
        ),
    ]  # fmt: skip


def _market(own: config.Switches) -> list[Exercise]:
    return [
        Exercise(
            "liquidation", "leverage of 3, and a gap to just before the liquidation price",
            _limit(min_liquidation_distance=own.min_liquidation_distance), _gap_near_liquidation(own.min_liquidation_distance),
            policy=Hold(3.0),
        ),
        Exercise("volatility", f"a bar that jumps by {JUMP:.0%}", _limit(volatility=own.volatility), when=TAPE, tape=jumping),
    ]  # fmt: skip


def _line(own: config.Switches) -> list[Exercise]:
    skew = 3 * own.clock_skew
    return [
        Exercise("api_errors", "every question about the account answered 503 (limit 0.1)", _limit(api_errors=0.1), failing, relent=sound),
        Exercise("silence", "the venue goes into maintenance (limit 3 s)", _limit(silence=3.0), silent, relent=heard),
        Exercise("clock_skew", f"the venue's clock jumps {skew:g} s", _limit(clock_skew=own.clock_skew), _skewed(skew), CHECKED, in_time),
    ]


def _model(own: config.Switches) -> list[Exercise]:
    strange = min(own.out_of_distribution, 0.1)
    return [
        Exercise(
            "out_of_distribution", f"a bar that jumps by {JUMP:.0%} (limit {strange:g})", _limit(out_of_distribution=strange), when=TAPE,
            tape=jumping,
        ),
        Exercise("expired", "the model outlives runner.max_model_age", when=TAPE, expires=True),
    ]  # fmt: skip


def _state() -> list[Exercise]:
    return [
        Exercise("reconcile", "a stranger trades on the account", provoke=stranger),
        Exercise("unprotected", "the venue takes no stop (limit 2 s)", _limit(unprotected=2.0), deaf, when=FILLED, relent=hearing),
    ]


def _from_outside() -> list[Exercise]:
    return [
        Exercise("kill", "`quantalpha kill` in another process", provoke=killed),
        Exercise(
            "watchdog:heartbeat", "the session's process is stopped (SIGSTOP; runner.dead_man 3 s)", {"runner": {"watchdog": True}},
            when=STOPPED,
        ),
    ]  # fmt: skip


def _limit(**values: float) -> dict[str, dict]:
    return {"switches": values}


def _gap(fraction: float) -> Provoke:
    async def provoke(scene: Scene) -> None:
        scene.server.conditions.sizes = Sizes(gap=fraction)
        scene.server.conditions.begin("price_gap", LASTING)

    return provoke


def _gap_near_liquidation(limit: float) -> Provoke:
    async def provoke(scene: Scene) -> None:
        """To where the way that is left is half of the limit, by the venue's own word of where it would liquidate."""
        async with emergency.desk_of(scene.card) as desk:
            held = (await desk.account()).positions[scene.bundle.symbol]
        await _gap(held.liquidation_price / (1 - limit / 2) / held.mark - 1)(scene)

    return provoke


async def failing(scene: Scene) -> None:
    scene.server.faults.account.chance = {"http_503": 1.0}


def sound(scene: Scene) -> None:
    scene.server.faults.account.chance = {}


async def silent(scene: Scene) -> None:
    scene.server.conditions.begin("maintenance", LASTING)


def heard(scene: Scene) -> None:
    scene.server.conditions.end("maintenance")


def _skewed(seconds: float) -> Provoke:
    async def provoke(scene: Scene) -> None:
        """As long ago as this by our clock, at whatever pace the tape runs."""
        scene.server.conditions.sizes = Sizes(skew=seconds * scene.server.clock.speed)
        scene.server.conditions.begin("clock_skew", LASTING)

    return provoke


def in_time(scene: Scene) -> None:
    scene.server.conditions.end("clock_skew")


async def stranger(scene: Scene) -> None:
    """Sells a tenth of the position by hand."""
    symbol, now = scene.bundle.symbol, time.time_ns() // 1_000_000
    async with emergency.desk_of(scene.card) as desk:
        lot, held = desk.rules_of(symbol).lot, (await desk.account()).positions[symbol].quantity
        quantity = -lot * max(1, round(held / lot / 10))
        order = {"client_id": f"stranger-{now}", "parent": "", "action": "place", "kind": "market", "quantity": quantity, "price": None}
        await desk.place(InstructionEvent(event_time=now, recv_time=now, symbol=symbol, bar=0, **order, reduce_only=True, purpose="order"))


async def deaf(scene: Scene) -> None:
    scene.server.faults.trading.chance = {"http_503": 1.0}


def hearing(scene: Scene) -> None:
    scene.server.faults.trading.chance = {}


async def killed(scene: Scene) -> None:
    scene.command("kill", "--account", scene.account.name, "--reason", "a drill")


def jumping(bars: pd.DataFrame, first: int) -> pd.DataFrame:
    return _scaled(bars, np.where(np.arange(len(bars)) < first + SOON, 1.0, 1.0 + JUMP))


def falling(bars: pd.DataFrame, first: int) -> pd.DataFrame:
    return _scaled(bars, FALL ** np.clip(np.arange(len(bars)) - first, 0, 60))


def _scaled(bars: pd.DataFrame, factor: np.ndarray) -> pd.DataFrame:
    """All prices times the factor, in whole ticks of the hundredth."""
    return bars.assign(**{name: (bars[name] * factor).round(2) for name in PRICES})


def soon_expired(scene: Scene, exercise: Exercise) -> dict[str, dict]:
    """An age that the model reaches a few seconds from now."""
    if not exercise.expires:
        return {}
    left = 6 * PACE * timeframe.milliseconds(scene.bundle.timeframe)
    age = scene.server.clock.now() + left - scene.bundle.until.timestamp() * 1000
    return {"runner": {"max_model_age": f"{round(age / timeframe.UNITS['m'])}m"}}
