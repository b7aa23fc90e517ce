"""How a session is asked for: which mode, under which name, with how much capital, and who looks on."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from quantalpha.runner import accounts, folders
from quantalpha.runner.composition import Composition
from quantalpha.runner.events import Event
from quantalpha.runner.status import Status

REPLAY, PAPER, LIVE = "replay", "paper", "live"
MODES = (REPLAY, PAPER, *accounts.VENUES)
OnStatus = Callable[[Status], None]


@dataclass(frozen=True)
class Request:
    """How a session is to run. name: None makes one of time and bundle; resume: go on with the session of that name. capital: quote
    currency the account begins with, None: what the bundle was judged with. adopt: take over what nobody here made at the venue.
    cleared: `runner.prelive` was gone through, without which nothing is traded live. sessions: folder of all, None: data/sessions.
    watching: opened with the session's folder and what its journal holds already; its observers are told of every event once it is
    durable."""

    mode: str = PAPER
    name: str | None = None
    resume: bool = False
    capital: float | None = None
    adopt: bool = False
    cleared: bool = False
    sessions: Path | None = None
    on_status: OnStatus | None = None
    watching: Callable[[Path, Sequence[Event]], AbstractContextManager[list[Callable[[Event], None]]]] | None = None

    def named(self, composition: Composition) -> "Request":
        """With a name: the one given, on a restart the last session's, else one of time and bundle. UsageError: it is none, or taken."""
        if self.resume:
            return replace(self, name=folders.session_folder(self.name or "latest", self.sessions).name)
        made = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{composition.name[:8]}"
        name = made if self.name is None else self.name
        folders.require_new(name, self.sessions)
        return replace(self, name=name)
