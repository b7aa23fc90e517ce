"""What all tests share: where the recorded market data lies, when it is there."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("tests", deadline=None)  # a noisy machine is no fault of the code
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def ledger(tmp_path_factory):
    """What the tests score is counted in a ledger of their own; a workspace's is for its user's tries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantalpha.validation.trials.FILE", str(tmp_path_factory.mktemp("ledger") / "trials.db"))
        yield


@pytest.fixture(scope="session", autouse=True)
def budgets(tmp_path_factory):
    """Request budgets of their own, too: other test processes meet other exchanges at the same ports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTALPHA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of recorded market data beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"recorded market data is not here ({SHARED_DATA.parent.name}/{SHARED_DATA.name} beside the checkout)")
    return SHARED_DATA
