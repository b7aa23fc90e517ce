"""The real servers, shared by all workers.

Where a server is not installed the tests skip and say so; QUANTALPHA_SERVICES=required, as `.ci/run` sets it, makes that a failure.
"""

import os
from contextlib import ExitStack

import pytest
import services
from workspace import entered

from quantalpha.market import Lake
from quantalpha.market.sinks import Series, open_sink

from .support import NAMES, fresh


@pytest.fixture(scope="session")
def urls(tmp_path_factory, worker_id):
    """{variable: URL} of PostgreSQL, InfluxDB and Redis."""
    base = tmp_path_factory.getbasetemp()
    with ExitStack() as stack:
        try:
            answer = stack.enter_context(services.shared((base if worker_id == "master" else base.parent) / "services"))
        except services.Absent as error:
            if os.environ.get("QUANTALPHA_SERVICES") == "required":
                pytest.fail(f"QUANTALPHA_SERVICES=required, but {error}")
            pytest.skip(str(error))
        yield answer


@pytest.fixture(params=NAMES)
def sink_name(request) -> str:
    return request.param


@pytest.fixture
def sink(urls, sink_name, tmp_path):
    with entered(tmp_path, **urls), open_sink(sink_name) as opened:
        yield opened


@pytest.fixture
def series() -> Series:
    return fresh()


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "raw")
