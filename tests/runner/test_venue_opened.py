"""A session's account at a venue: which one it may be."""

import asyncio
from types import SimpleNamespace

import pytest

from quantalpha import config
from quantalpha.errors import Halted, UsageError
from quantalpha.runner import Request, live
from quantalpha.runner import venue as venues
from quantalpha.runner.accounts import AccountFolder, name_of

COMPOSITION = SimpleNamespace(bundles=[SimpleNamespace(id="a" * 64)])


@pytest.mark.parametrize("address", [None, "https://fapi.binance.com", "http://127.0.0.1.example.com:8899"])
def test_a_rehearsal_never_reaches_a_real_venue(address, monkeypatch):
    """Where keys of a live account lie in the environment."""

    def reached(*_, **__):
        raise AssertionError("orders would be live")

    monkeypatch.setattr(venues, "open_trading", reached)
    monkeypatch.setenv("QUANTALPHA_API_KEY", "a-live-key")
    monkeypatch.setenv("QUANTALPHA_API_SECRET", "a-live-secret")
    config.environment.cache_clear()
    params = config.load("default")
    params = params.model_copy(update={"venue": params.venue.model_copy(update={"rest_url": address})})

    async def work():
        async with venues.opened(None, params, "rehearse", "s1", False):
            pass

    with pytest.raises(UsageError, match="rehearse"):
        asyncio.run(work())
    config.environment.cache_clear()


def test_an_account_that_another_session_trades_is_not_set_anew(monkeypatch, tmp_path):
    """Leverage and modes are the account's: who is to be refused must not have changed them."""

    def reached(*_, **__):
        raise AssertionError("the venue was told something")

    monkeypatch.setattr(live, "opened", reached)
    params = config.load("demo")
    taken = AccountFolder(name_of("rehearse", params.venue), tmp_path / "accounts")
    request = Request("rehearse", "second", sessions=tmp_path / "sessions")
    with taken.hold({"mode": "rehearse"}), pytest.raises(UsageError, match="another session"):
        asyncio.run(live.run(COMPOSITION, params, request))
    taken.latch.set("kill", "a drill")
    with pytest.raises(Halted):
        asyncio.run(live.run(COMPOSITION, params, request))
