"""The runner, handed down to the gate: it replays a candidate's bundle before it is sealed, and finds its paper sessions."""

import tempfile
from contextlib import suppress
from pathlib import Path

import pandas as pd

from quantalpha import config, runner
from quantalpha.bundle import Bundle
from quantalpha.errors import DataError
from quantalpha.files import read_json
from quantalpha.promotion import PaperSession, Recorded, Terms
from quantalpha.runner import clearance, folders, journal

SAME = ("params.json", "check.json", "model.json")  # files that make two bundles one model; model.json holds the hash of the trees


def terms(params: config.Params, alias: str = "paper") -> Terms:
    """By what a candidate is judged that is to become `alias`."""
    venue = params.venue.name if params.venue.own else None
    return Terms(params.gate, params.holdout.start, Runner(params), alias, venue=venue)


class Runner:
    """See `promotion.case.Rehearsal`."""

    def __init__(self, params: config.Params):
        self.params = params

    def replay(self, sealed: Bundle, bars: pd.DataFrame) -> Recorded:
        with tempfile.TemporaryDirectory() as scratch:
            request = runner.Request(name="rehearsal", sessions=Path(scratch))
            done = runner.run_replay(sealed, self.params, bars, request)
            return Recorded(**runner.recorded(Path(done.folder)))

    def paper(self, sealed: Bundle) -> list[PaperSession]:
        """Sessions whose bundle is gone, damaged or not signed as is asked for now count for nobody."""
        wanted, found = [sealed.manifest["files"][name] for name in SAME], []
        for folder in filter(self._at_the_venue, runner.sessions("paper")):
            with suppress(DataError):
                own = runner.session_bundle(folder)
                if [own.manifest["files"][name] for name in SAME] == wanted:
                    found.append((own, folder))
        return [_paper(own, folder) for own, folder in found]

    def _at_the_venue(self, folder: Path) -> bool:
        """Whether the session traded the bars of this very venue, and of nothing that stood in for it."""
        try:
            venue = config.Venue.model_validate(read_json(folder / folders.CARD, "params")["params"]["venue"])
        except (DataError, KeyError, TypeError, ValueError):
            return False
        return venue.own and venue.name == self.params.venue.name


def _paper(own: Bundle, folder: Path) -> PaperSession:
    events = journal.read(folder / journal.FILE)
    return PaperSession(own, Recorded(**runner.recorded(folder)), clearance.traded(events), clearance.tripped(events))
