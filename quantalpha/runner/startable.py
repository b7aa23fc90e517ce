"""Whether a session can start, as far as this machine knows: asked before anything is made, started, or said to a venue."""

from quantalpha import config
from quantalpha.files import read_json
from quantalpha.runner import accounts, folders, journal
from quantalpha.runner.request import LIVE, REPLAY, Request
from quantalpha.runner.session import accounts_of


def require_startable(params: config.Params, request: Request) -> None:
    """UsageError: the name is none, or taken; on a restart there is no such session; or another one has the account. DataError: the record
    to go on with is damaged. Halted: the account is latched."""
    name = request.name
    if request.resume:
        folder = folders.session_folder(name or "latest", request.sessions)
        name = folder.name
        read_json(folder / folders.CARD, "bundles", "mode", "capital")
        journal.require_sound(folder / journal.FILE)
    elif name is not None:
        folders.require_new(name, request.sessions)
    if request.mode in (REPLAY, LIVE) or name is None and request.mode not in accounts.VENUES:  # of a live account the pre-live list tells
        return
    for account in accounts_of(request.mode, params, folders.root(request.sessions) / (name or "new")):
        account.require_free()
