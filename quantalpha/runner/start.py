"""Sessions from their first word to their last: on a live market, or over recorded bars."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from quantalpha import config, schema
from quantalpha.bundle import Bundle
from quantalpha.errors import GateRefused, UsageError
from quantalpha.runner import feed
from quantalpha.runner.composition import Composition, compose
from quantalpha.runner.request import LIVE, MODES, REPLAY, Request
from quantalpha.runner.session import Session
from quantalpha.runner.summary import Summary

ON_PAPER = Request()


def run_session(bundles: Bundle | Sequence[Bundle] | Composition, params: config.Params, request: Request = ON_PAPER) -> Summary:
    """Runs on the venue of `params` until `params.runner.bars` decisions were made or SIGINT or SIGTERM arrives.

    Raises ExchangeError when the venue stays away, Halted when it falls silent, the journal cannot be written or a kill switch has tripped;
    what was journalled stays readable.
    """
    from quantalpha.runner import live

    composition = compose(bundles, request.capital)
    if request.mode not in MODES[1:]:
        raise UsageError(f"mode: expected {', '.join(MODES[1:])} (or replay, over recorded bars), found {request.mode!r}")
    if request.mode == LIVE and not request.cleared:
        raise GateRefused("live: nobody has gone through the pre-live list, so nothing is traded; rehearse, or use --mode testnet")
    composition.require_played(request.mode)
    composition.require_origin(params.venue, request.mode)
    return asyncio.run(live.run(composition, params, request))


def run_replay(
    bundles: Bundle | Sequence[Bundle], params: config.Params, bars: pd.DataFrame | dict[str, pd.DataFrame], request: Request = ON_PAPER
) -> Summary:
    """The same engine over recorded `bars` (of several symbols: by symbol), with a decision at every close, as fast as it goes; its clock
    is the tape's."""
    composition = compose(bundles, request.capital)
    request = replace(request, mode=REPLAY).named(composition)
    tables = bars if isinstance(bars, dict) else {composition.symbols[0]: bars}
    if set(tables) != set(composition.symbols):
        raise UsageError(f"replay: expected bars of {', '.join(composition.symbols)}, found {', '.join(tables)}")
    for symbol, table in tables.items():
        schema.check_bars(table, f"bars of {symbol}")
    with Session.start(composition, params, request, composition.paper()) as session:
        session.reason = "end of data"
        for event in feed.replay_all(tables, session.step):
            session.feed(event)
    return session.summary()
