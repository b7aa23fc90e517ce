"""A session's account at a venue: which one it may be."""

import asyncio

import pytest

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.runner import venue as venues


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
