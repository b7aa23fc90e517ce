"""What a watchdog knows of its session, from files alone: whether it beats, and for how long it needs a watchdog."""

import math

from quantalpha.errors import DataError
from quantalpha.runner.accounts import AccountFolder


class Duty:
    """Of the session that the account's card tells of now. All it looks at are files: it is asked several times a second, also while the
    venue does not answer."""

    def __init__(self, folder: AccountFolder):
        self.folder, self.card = folder, folder.card()
        self._dismissed = self._latched = False

    def dismiss(self) -> None:
        """Its session has ended in order and says so: a watchdog that came up only now has missed that."""
        self._dismissed = True

    def over(self) -> bool:
        """While nothing has tripped: dismissed, or the session has taken its heartbeat away and left no latch to obey."""
        lifted = self.lifted()
        return lifted or self._dismissed or (self.folder.beaten() is None and not self._latched)

    def lifted(self) -> bool:
        """However the account stands: a person has reset its latch, or another session trades it, with a watchdog of its own."""
        standing = self.folder.latch.standing() is not None
        self._latched = self._latched or standing
        return (self._latched and not standing) or self._succeeded()

    def _succeeded(self) -> bool:
        """A card that cannot be read says nothing."""
        try:
            return self.folder.card() != self.card
        except DataError:
            return False


class Pulse:
    """Age of a session's heartbeat by our own clock, whatever the file's clock says: it is fresh when it has changed."""

    def __init__(self, folder: AccountFolder):
        self.folder = folder
        self._last, self._changed = None, math.nan

    def age(self, now: float) -> float | None:
        """Seconds; None where there is no heartbeat, since no session runs or its last one ended in order."""
        beaten = self.folder.beaten()
        if beaten is None or beaten != self._last:
            self._last, self._changed = beaten, now
        return None if beaten is None else now - self._changed
