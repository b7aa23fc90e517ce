"""What the pre-live list is told: the bundles, the account at its venue, its past, and this machine."""

from dataclasses import replace
from pathlib import Path

from quantalpha import config
from quantalpha.errors import DataError
from quantalpha.files import read_json
from quantalpha.market.trading import open_trading
from quantalpha.runner import accounts, drills, emergency, folders, journal
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.composition import Composition
from quantalpha.runner.events import Event, SessionEvent, SwitchEvent
from quantalpha.runner.prelive import Case, House, Past, VenueWord, ask_venue
from quantalpha.runner.venue import second_of
from quantalpha.secrets import ALERTS
from quantalpha.workspace import lock_sha256

DAY = 86_400_000  # ms
SECOND = len("2026-01-01T00:00:00")  # of a time in ISO 8601, UTC
LIVE, TESTNET = "live", "testnet"


async def gather(composition: Composition, params: config.Params, mode: str) -> Case:
    """Asks venue and machine; changes nothing. The capital is the composition's account's.

    Raises GateRefused, with no venue asked, where live money would follow what is not the venue's own data; UsageError without keys,
    ExchangeError where the venue gives no usable answer.
    """
    composition.require_origin(params.venue, mode)
    account, second = composition.account, second_of(params)
    word = await _word(composition, params.venue, mode)
    other = None if second is None else await _word(composition, second, mode, second=True)
    return Case(
        gates={each.id: each.gate for each in composition.bundles}, capital=account.initial_cash,
        leverage=account.leverage, margin_mode=account.margin_mode, runner=params.runner,
        past=past(params, mode), venue=word, house=house(composition, params, mode), second=other,
    )  # fmt: skip


async def _word(composition: Composition, venue: config.Venue, mode: str, *, second: bool = False) -> VenueWord:
    async with open_trading(venue, emergency.keys_of(mode, venue, second=second), demo=mode == TESTNET) as trading:
        return await ask_venue(trading, composition.symbols)


def house(composition: Composition, params: config.Params, mode: str) -> House:
    """What this machine says."""
    folder = folders.root()
    folder.mkdir(parents=True, exist_ok=True)
    latched = next(filter(None, (each.latch.standing() for each in _accounts(params, mode))), None)
    drilled = drills.days_since(AccountFolder(accounts.name_of("rehearse", params.venue)))
    return House(
        folder=folder, latched=None if latched is None else f"{latched['name']}: {latched['reason']}", watchdog=params.runner.watchdog,
        alerts=bool(config.environment().get(ALERTS, "").strip()), drill_days=drilled,
        same_libraries=all(each.manifest["lock_sha256"] == lock_sha256() for each in composition.bundles),
    )  # fmt: skip


def _accounts(params: config.Params, mode: str) -> list[AccountFolder]:
    """Of the venue, and of the second where there is one."""
    return [AccountFolder(accounts.name_of(mode, each)) for each in (params.venue, second_of(params)) if each is not None]


def past(params: config.Params, mode: str) -> list[Past]:
    """Every earlier session of the account, the oldest first. One whose record cannot be read counts as one that was stopped, and so does
    the last that had begun when something latched an account: a watchdog's word stands in no journal. DataError: a history was altered."""
    found = {folder: each for folder in folders.sessions(mode) if (each := _past(folder, params.venue)) is not None}
    begun = {folder: str(read_json(folder / folders.CARD).get("started", "")) for folder in found}
    for latched in (time for account in _accounts(params, mode) for time in _latched(account)):
        last = [folder for folder in found if begun[folder][:SECOND] <= latched[:SECOND]][-1:]
        found |= {folder: replace(found[folder], tripped=True) for folder in last}
    return list(found.values())


def _latched(account: AccountFolder) -> list[str]:
    """When, ISO: what was reset since and what stands."""
    standing = account.latch.standing()
    return [*(each["latch"]["time"] for each in account.latch.history()), *([] if standing is None else [standing["time"]])]


def _past(folder: Path, venue: config.Venue) -> Past | None:
    """None: of another account."""
    try:
        card = read_json(folder / folders.CARD, "capital", "params")
        if config.Venue.model_validate(card["params"]["venue"]).kept_as != venue.kept_as:
            return None
        events = journal.read(folder / journal.FILE)
    except (DataError, KeyError, ValueError, OSError):
        return Past(0.0, 0.0, True)
    return Past(float(card["capital"]), traded(events), tripped(events))


def tripped(events: list[Event]) -> bool:
    """Whether a kill switch has ended a run of the session; a graceful stop that closes the position is none."""
    return any(type(each) is SwitchEvent and each.phase == "tripped" and each.name != "on_stop" for each in events)


def traded(events: list[Event]) -> float:
    """Days between each start of a session and the last that was heard before it ended; what lay between two runs does not count."""
    total = since = last = 0
    for event in events:
        if type(event) is SessionEvent and event.phase in ("start", "resume"):
            total, since = total + last - since, event.recv_time
        last = max(last, event.recv_time) if last >= since else event.recv_time
    return (total + last - since) / DAY
