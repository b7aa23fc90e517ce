"""A practice exchange on loopback, in a thread of its own, and a bundle trained on its tape."""

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import small_bundle

from quantalpha import bundle, config
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import Tape, serve

SPEED = 36_000.0  # ten hourly bars a second


@dataclass
class Exchange:
    """`settings` point at it; `close` takes it off the network."""

    settings: config.Params
    close: callable


@pytest.fixture(scope="session")
def tape_settings() -> config.Params:
    return small_bundle.params("venue.source=practice", "synthetic.bars=1500", "synthetic.edge={BTCUSDT: 0.05}")


@pytest.fixture(scope="session")
def trained(tape_settings, tmp_path_factory) -> bundle.Bundle:
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic)
    return small_bundle.build(tmp_path_factory.mktemp("bundles"), bars, tape_settings)


@pytest.fixture
def exchange(tape_settings):
    """The synthetic tape from its 700th bar on."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(task):
        return asyncio.run_coroutine_threadsafe(task, loop).result(30)

    tape = Tape.synthetic(tape_settings.synthetic)
    server = run(serve(tape, port=0, speed=SPEED, now=int(tape_settings.synthetic.start.timestamp() * 1000) + 700 * 3_600_000))
    venue = tape_settings.venue.model_copy(update={"rest_url": server.url, "ws_url": server.ws_url})
    yield Exchange(tape_settings.model_copy(update={"venue": venue}), lambda: run(server.close()))
    run(server.close())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def sessions(tmp_path) -> Path:
    return tmp_path / "sessions"
