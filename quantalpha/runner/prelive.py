"""The list that a machine goes through before real money is traded: what is asked for, what was found, whether it holds.

    found = await ask_venue(trading, symbols)
    require(lines(Case(...)))

Nothing passes because it could not be found out: what is unknown fails.
"""

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from quantalpha import config, verdict
from quantalpha.errors import GateRefused
from quantalpha.market.trading import Permissions, Settings, Trading, patiently

LIVE_LINES = ("real_data", "paper_days", "paper_agrees")  # of a gate that was passed for live
ROOM = 1_000_000_000  # bytes; a session of a year writes a tenth of it
DRILL_DAYS = 30.0  # for which a rehearsal of the kill switches counts
CLOCK = 0.5  # seconds


@dataclass(frozen=True)
class Line:
    """at_start: the session itself sees to it at its start and reads it back, or refuses (`Trading.preflight`)."""

    name: str
    wanted: str
    found: str
    passed: bool
    at_start: bool = False


@dataclass(frozen=True)
class VenueWord:
    """What the venue says before the session. cash: of the wallet, quote currency; skew: seconds our clock is ahead."""

    cash: float
    skew: float
    permissions: Permissions
    settings: Mapping[str, Settings]


@dataclass(frozen=True)
class Past:
    """An earlier live session of the account: its capital, how many days it traded, whether a kill switch ended it. Oldest first."""

    capital: float
    days: float
    tripped: bool


@dataclass(frozen=True)
class House:
    """What this machine says. drill_days: since the last drill that passed, None where there was none; alerts: a channel is configured;
    watchdog: the session's own will run; latched: why the account must not trade, None where it may."""

    folder: Path
    latched: str | None
    watchdog: bool
    alerts: bool
    drill_days: float | None
    same_libraries: bool


@dataclass(frozen=True)
class Case:
    """gates: of each bundle (by id) its gate.json; leverage and margin_mode: what the account is to trade with; second: the other venue's
    word, where a session has two, with half the capital each."""

    gates: Mapping[str, dict]
    capital: float
    leverage: float
    margin_mode: str
    runner: config.Runner
    past: Sequence[Past]
    venue: VenueWord
    house: House
    second: VenueWord | None = None

    @property
    def words(self) -> dict[str, VenueWord]:
        """By what their lines are called."""
        return {"": self.venue} | ({} if self.second is None else {"second venue: ": self.second})


async def ask_venue(trading: Trading, symbols: Sequence[str]) -> VenueWord:
    """Reads only. Raises ExchangeError where the venue gives no usable answer."""
    account = await patiently("the account", trading.account)
    settings = {symbol: await patiently(f"the settings of {symbol}", lambda symbol=symbol: trading.settings(symbol)) for symbol in symbols}
    skew = await patiently("its clock", trading.synchronise)
    return VenueWord(account.cash, skew, await trading.permissions(), settings)


def lines(case: Case) -> list[Line]:
    """Every line, in the order in which they are worth reading."""
    return [*_models(case), *_money(case), *_account(case), *_machine(case)]


def require(found: Sequence[Line]) -> None:
    """GateRefused (exit 3) naming every line that does not hold."""
    failed = [f"{line.name}: {line.found}, not {line.wanted}" for line in found if not line.passed]
    if failed or not found:
        raise GateRefused(f"live: {len(failed)} of {len(found)} lines fail: {'; '.join(failed) or 'nothing was checked'}")


def _models(case: Case) -> list[Line]:
    found = []
    for name, gate in case.gates.items():
        told = {line["name"]: line for line in gate["lines"]}
        missing = [each for each in LIVE_LINES if each not in told or not verdict.stands(told[each])]
        passed = gate["passed"] is True and not missing and all(verdict.stands(line) for line in gate["lines"])
        words = "passed" if passed else f"failed or not judged: {', '.join(missing) or 'other lines'}"
        found.append(Line(f"gate of {name[:12]}", "passed for live", words, passed))
    return found or [Line("gate", "a bundle", "none", False)]


def _money(case: Case) -> list[Line]:
    rung, needed, traded = permitted(case.capital, case.runner.ladder, case.past)
    if rung is None:
        top = max((each.capital for each in case.runner.ladder), default=0.0)
        ladder = Line("capital ladder", f"at most {top:g}", f"{case.capital:g}", False)
    else:
        words = f"{traded:.1f} days on the rung below without a kill switch"
        ladder = Line("capital ladder", f"{needed:g} days for {case.capital:g}", words, traded >= needed)
    share = case.capital / len(case.words)
    balances = [(f"{name}balance", word.cash, 0.0 < share <= word.cash) for name, word in case.words.items()]
    return [ladder, *(Line(name, f"at least {share:g}", f"{cash:.2f}", enough) for name, cash, enough in balances)]


def permitted(capital: float, ladder: Sequence[config.Rung], past: Sequence[Past]) -> tuple[int | None, float, float]:
    """(rung that `capital` stands on, days on the rung below that it takes, days traded there since the last kill switch); rung None where
    no rung is so high, or the capital is no number."""
    rung = next((number for number, each in enumerate(ladder) if 0.0 < capital <= each.capital), None)
    if rung is None:
        return None, math.inf, 0.0
    floor = ladder[rung - 2].capital if rung > 1 else 0.0
    days = 0.0
    for session in past:
        days = 0.0 if session.tripped else days + (session.days if session.capital > floor else 0.0)
    return rung, ladder[rung].days, days


def _account(case: Case) -> list[Line]:
    return [replace(line, name=name + line.name) for name, word in case.words.items() for line in _told(case, word)]


def _told(case: Case, word: VenueWord) -> list[Line]:
    """Of one venue."""
    found = [
        Line("key: withdrawals", "not permitted", _said(word.permissions.withdraw), word.permissions.withdraw is False),
        Line("key: trading", "permitted", _said(word.permissions.trade), word.permissions.trade is True),
        Line("clock", f"within {CLOCK:g} s", f"{word.skew:+.3f} s", abs(word.skew) <= CLOCK),
    ]
    for symbol, settings in word.settings.items():
        found += [
            Line(f"{symbol}: positions", "one-way", "one-way" if settings.one_way else "hedged", settings.one_way, at_start=True),
            Line(f"{symbol}: assets", "one", "one" if settings.one_asset else "several (multi-assets mode)", settings.one_asset),
            Line(f"{symbol}: leverage", f"{case.leverage:g}", f"{settings.leverage:g}", settings.leverage == case.leverage, at_start=True),
            Line(f"{symbol}: margin", case.margin_mode, settings.margin_mode, settings.margin_mode == case.margin_mode, at_start=True),
        ]
    return found


def _machine(case: Case) -> list[Line]:
    house, dead_man = case.house, case.runner.dead_man
    drill = "never" if house.drill_days is None else f"{house.drill_days:.1f} days ago"
    free = room(house.folder)
    return [
        Line("latch", "none", house.latched or "none", house.latched is None),
        Line("watchdog", "runs", "runs" if house.watchdog else "switched off", house.watchdog),
        Line("dead man's switch", "3 to 300 s", f"{dead_man:g} s", 3.0 <= dead_man <= 300.0),
        Line("alerts", "configured", "configured" if house.alerts else "nobody would be told", house.alerts),
        Line("drill", f"within {DRILL_DAYS:g} days", drill, house.drill_days is not None and 0.0 <= house.drill_days <= DRILL_DAYS),
        Line("disk", f"{ROOM / 1e9:g} GB free", f"{free / 1e9:.1f} GB", free >= ROOM),
        Line("journal", "writable", "writable" if writable(house.folder) else "not writable", writable(house.folder)),
        Line("libraries", "as locked", "as locked" if house.same_libraries else "others", house.same_libraries),
    ]


def room(folder: Path) -> float:
    """Free bytes; 0.0 where there is no such folder."""
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return 0.0


def writable(folder: Path) -> bool:
    """Whether a file can be made in it."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError:
        return False
    return True


def _said(answer: bool | None) -> str:
    return {True: "permitted", False: "not permitted", None: "the venue does not say"}[answer]
