"""What the pre-live list is told: the bundles, the account at its venue, its past, and this machine."""

from collections.abc import Mapping
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
LIVE, TESTNET = "live", "testnet"


async def gather(composition: Composition, aliases: Mapping[str, str | None], params: config.Params, mode: str) -> Case:
    """Asks venue and machine; changes nothing. aliases: of each bundle (by id). The capital is the composition's account's.

    Raises GateRefused, with no venue asked, where live money would follow what is not the venue's own data; UsageError without keys,
    ExchangeError where the venue gives no usable answer.
    """
    composition.require_origin(params.venue, mode)
    account, second = composition.account, second_of(params)
    word = await _word(composition, params.venue, mode)
    other = None if second is None else await _word(composition, second, mode, second=True)
    return Case(
        gates={each.id: each.gate for each in composition.bundles}, aliases=aliases, capital=account.initial_cash,
        leverage=account.leverage, margin_mode=account.margin_mode, runner=params.runner,
        past=past(params.venue, mode), venue=word, house=house(composition, params, mode), second=other,
    )  # fmt: skip


async def _word(composition: Composition, venue: config.Venue, mode: str, *, second: bool = False) -> VenueWord:
    async with open_trading(venue, emergency.keys_of(mode, venue, second=second), demo=mode == TESTNET) as trading:
        return await ask_venue(trading, composition.symbols)


def house(composition: Composition, params: config.Params, mode: str) -> House:
    """What this machine says."""
    folder = folders.root()
    folder.mkdir(parents=True, exist_ok=True)
    venues = [params.venue, *filter(None, [second_of(params)])]
    latched = next(filter(None, (AccountFolder(accounts.name_of(mode, each)).latch.standing() for each in venues)), None)
    drilled = drills.days_since(AccountFolder(accounts.name_of("rehearse", params.venue)))
    return House(
        folder=folder, latched=None if latched is None else f"{latched['name']}: {latched['reason']}", watchdog=params.runner.watchdog,
        alerts=bool(config.environment().get(ALERTS, "").strip()), drill_days=drilled,
        same_libraries=all(each.manifest["lock_sha256"] == lock_sha256() for each in composition.bundles),
    )  # fmt: skip


def past(venue: config.Venue, mode: str) -> list[Past]:
    """Every earlier session of the account, the oldest first. One whose record cannot be read counts as one that was stopped."""
    found = [_past(folder, venue) for folder in folders.sessions(mode)]
    return [each for each in found if each is not None]


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
