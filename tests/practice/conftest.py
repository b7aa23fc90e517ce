"""A small tape, and an exchange that asks the test for the time."""

import pandas as pd
import pytest

from quantalpha import config
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import Tape
from quantalpha.practice.clock import Clock
from quantalpha.practice.exchange import Exchange

from .support import Wall


@pytest.fixture(scope="session")
def frames() -> dict[str, pd.DataFrame]:
    given = {"seed": 3, "start": "2024-01-01", "bars": 2_500, "timeframe": "1h", "edge": {"BTCUSDT": 0.0, "ETHUSDT": 0.01}}
    params = config.Synthetic.model_validate(given)
    return {symbol: synthetic_bars(symbol, params) for symbol in params.edge}


@pytest.fixture(scope="session")
def tape(frames) -> Tape:
    return Tape(frames)


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def exchange(tape, wall) -> Exchange:
    """Not listening anywhere: for tests that ask it directly. One wall second is a tape hour."""
    return Exchange(tape, Clock(tape.opening, tape.end, 3600.0, wall))
