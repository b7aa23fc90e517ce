"""Where sessions lie: data/sessions/NAME with `session.json` (what ran) and `journal.db` (what happened)."""

import json
import re
from pathlib import Path

from quantalpha import config
from quantalpha.bundle import Bundle
from quantalpha.bundle import load as load_bundle
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.files import read_json, write_atomic
from quantalpha.secrets import masked

CARD = "session.json"
BUNDLES = "data/bundles"  # where promotion seals them
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"


def root(sessions: Path | None = None) -> Path:
    """The folder of all sessions; None: the workspace's."""
    return config.path("data/sessions") if sessions is None else sessions


def create(name: str, sessions: Path | None) -> Path:
    """A new session's folder. UsageError: the name is none or taken, or nothing can be made there."""
    require_new(name, sessions)
    folder = root(sessions) / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise _exists(folder) from None
    except OSError as error:
        raise UsageError(f"session {name!r}: no folder can be made in {folder.parent}: {error.strerror}; make it writable") from None
    return folder


def require_new(name: str, sessions: Path | None) -> None:
    """UsageError: the name is none, or taken."""
    if not re.fullmatch(NAME, name):
        raise UsageError(f"session: expected a name of at most 100 letters a-z, digits, '-', '_' and '.', found {name[:120]!r}")
    if (root(sessions) / name).exists():
        raise _exists(root(sessions) / name)


def _exists(folder: Path) -> UsageError:
    return UsageError(f"session {folder.name!r}: exists already in {folder.parent}; choose another id, or go on with it: --resume")


def write_card(folder: Path, card: dict) -> None:
    """What ran, without a secret in any text of it."""
    write_atomic(folder / CARD, json.dumps(masked(card), indent=1) + "\n")


def session_folder(session: str, sessions: Path | None = None) -> Path:
    """Where a session's record lies: its name in data/sessions, or 'latest'. Raises UsageError naming the nearest."""
    cards = list(root(sessions).glob(f"*/{CARD}"))
    if not cards:
        raise UsageError(f"session {session!r}: no session has run yet; `quantalpha run --mode paper` runs one")
    if session == "latest":
        return max(cards, key=lambda card: card.stat().st_mtime).parent
    names = [card.parent.name for card in cards]
    if session not in names:
        raise UsageError(f"session {session!r}: not found in data/sessions; {did_you_mean(session, names)}")
    return root(sessions) / session


def sessions(mode: str) -> list[Path]:
    """The folders of all sessions of a mode, the oldest first."""
    cards = sorted(root().glob(f"*/{CARD}"), key=lambda card: card.stat().st_mtime)
    return [card.parent for card in cards if read_json(card, "mode")["mode"] == mode]


def session_bundles(folder: Path) -> list[Bundle]:
    """The verified bundles a session ran: from the folders its card names or, where one is gone (a moved workspace), from data/bundles."""
    card = read_json(folder / CARD, "bundles")
    return [_bundle(folder.name, each["id"], Path(each["folder"])) for each in card["bundles"]]


def session_bundle(folder: Path) -> Bundle:
    """The one bundle a session ran. UsageError where there were several, or none."""
    bundles = session_bundles(folder)
    if len(bundles) != 1:
        ran = f"{len(bundles)} bundles in one account" if bundles else "a pair, which no bundle decides"
        told = f"only sessions of one bundle can be compared with their backtest; `quantalpha report {folder.name}` tells what it did"
        raise UsageError(f"session {folder.name}: ran {ran}; {told}")
    return bundles[0]


def predicted_slippage(folder: Path) -> float | None:
    """What a session's bundles were judged with, where that is one number and they are still there."""
    try:
        slippages = [each.costs.slippage for each in session_bundles(folder)]
    except DataError:
        return None
    same = all(isinstance(each, float) and each == slippages[0] for each in slippages)
    return slippages[0] if slippages and same else None


def _bundle(session: str, id: str, noted: Path) -> Bundle:
    places = [noted, config.path(BUNDLES) / id]
    for place in places:
        if place.is_dir():
            return load_bundle(place, id)
    raise DataError(
        f"session {session}: its bundle {id[:12]} is neither in {places[0]} nor in {places[1].parent}; "
        "put the folder back, or promote the same run again"
    )
