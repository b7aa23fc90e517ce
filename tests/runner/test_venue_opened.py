"""A session's account at a venue: which one it may be."""

import asyncio
from types import SimpleNamespace

import pytest

from quantalpha import config
from quantalpha.cli.live import require_place
from quantalpha.errors import Halted, UsageError
from quantalpha.runner import Request, live
from quantalpha.runner import venue as venues
from quantalpha.runner.accounts import AccountFolder, name_of

COMPOSITION = SimpleNamespace(name="a" * 8, bundles=[SimpleNamespace(id="a" * 64)])


OTHER = "http://127.0.0.1.example.com:8899"
LOCAL, ELSEWHERE = "http://127.0.0.1:8899", "wss://stream.example.com"


@pytest.mark.parametrize(
    "mode, venue, second",
    [("rehearse", {"rest_url": address}, {}) for address in (None, "https://fapi.binance.com", OTHER)]
    + [("rehearse", {"rest_url": LOCAL, "ws_url": ELSEWHERE}, {}), ("rehearse", {"rest_url": LOCAL}, {"rest_url": OTHER})]
    + [(mode, *where) for mode in ("live", "testnet") for where in (({"rest_url": OTHER}, {}), ({"ws_url": ELSEWHERE}, {}))]
    + [(mode, {}, {name: OTHER}) for mode in ("live", "testnet") for name in ("rest_url", "ws_url")],
)
def test_a_session_reaches_no_other_venue_than_its_mode_is_for(mode, venue, second, monkeypatch):
    """Where keys of a live account lie in the environment: orders of a rehearsal go to this machine, a real key to its own venue alone."""

    def reached(*_, **__):
        raise AssertionError("orders would be live")

    monkeypatch.setattr(venues, "open_trading", reached)
    monkeypatch.setenv("QUANTALPHA_API_KEY", "a-live-key")
    monkeypatch.setenv("QUANTALPHA_API_SECRET", "a-live-secret")
    config.environment.cache_clear()
    params = config.load("default")
    other = {"route": params.route.model_copy(update={"venue": "bybit", **second})} if second else {}
    params = params.model_copy(update={"venue": params.venue.model_copy(update=venue), **other})

    async def work():
        async with venues.opened(None, params, mode, "s1", False):
            pass

    with pytest.raises(UsageError, match=mode):
        asyncio.run(work())
    if mode != "rehearse":
        with pytest.raises(UsageError, match=mode):
            require_place(mode, params, 100.0)
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
