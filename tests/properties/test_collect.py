"""Law: whatever a venue does wrong on the way, the lake ends as it would have without, or an error says so and a later run completes it."""

import tempfile
from pathlib import Path

import pytest
from collecting import contents, data, fetch, minutes, undisturbed, venue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantalpha.errors import ExchangeError
from quantalpha.market.exchange import Retry
from quantalpha.practice import Faults
from quantalpha.practice.background import played

WANTED = data("2024-01-20", None, timeframe="1m", kinds=["bars", "mark", "funding"])
SEEN = ["delay", "disconnect", "http_429", "http_418", "http_503", "malformed", "truncated", "duplicates", "disorder"]
schedules = st.dictionaries(st.integers(0, 40), st.sampled_from(SEEN), max_size=30)
lone = st.lists(st.integers(0, 12), unique=True, max_size=4)  # two empty lists in a row are seen through, three are believed


@pytest.fixture(scope="module")
def tape():
    return minutes(2_500)


@pytest.fixture(scope="module")
def whole(tape, tmp_path_factory):
    return undisturbed(tape, WANTED, tmp_path_factory.mktemp("whole"))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=schedules, empties=lone, hang=st.integers(0, 40) | st.none())
def test_faults_never_change_what_is_stored(tape, whole, plan, empties, hang):
    plan = plan | {3 * number: "empty" for number in empties} | ({} if hang is None else {hang: "hang"})
    faults = Faults(plan=plan, seconds=0.01)
    with tempfile.TemporaryDirectory() as folder, played(tape, speed=0.0, now=tape.end, faults=faults) as server:
        for _ in range(30):
            try:
                fetch(venue(server, timeout=0.5), WANTED, Path(folder), Retry(attempts=3, base=0.005))
                break
            except ExchangeError:
                assert set(contents(Path(folder))) <= set(whole)
        else:
            pytest.fail("it never ended, though the venue was well again")
        assert contents(Path(folder)) == whole
