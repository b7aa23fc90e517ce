import contextlib
import subprocess
import sys

import pandas as pd
import pytest

from quantalpha.errors import DataError
from quantalpha.files import check_last_line, read_parquet

READER = """
import sys
from quantalpha.files import read_parquet
for _ in range(30):
    read_parquet(sys.argv[1])
"""


def test_a_table_comes_back_as_it_was(tmp_path):
    index = pd.date_range("2024", periods=3, tz="UTC", unit="ms", name="timestamp")
    table = pd.DataFrame({"a": [1.0, None, 3.0], "s": ["x", "y", None], "c": pd.Categorical(["u", "v", "u"])}, index=index)
    table.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "t.parquet"), table, check_freq=False)
    pd.testing.assert_frame_equal(read_parquet((tmp_path / "t.parquet").read_bytes()), table, check_freq=False)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet at all, but long enough to have a footer PAR1"])
def test_what_is_no_parquet_is_a_value_error(data, tmp_path):
    with pytest.raises((ValueError, OSError)):
        read_parquet(data)
    with pytest.raises(FileNotFoundError):
        read_parquet(tmp_path / "none.parquet")


def test_a_process_that_has_read_ends_well(tmp_path):
    """Read by pandas, one process in twenty-five of these was aborted at its end; eight at once, as a loaded machine has it."""
    pd.DataFrame({name: [1.0] * 24 for name in "abcdef"}).to_parquet(tmp_path / "t.parquet")
    command = [sys.executable, "-c", READER, str(tmp_path / "t.parquet")]
    readers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    assert [(reader.communicate()[1], reader.returncode) for reader in readers] == [("", 0)] * 8


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("a,b,c\n1,2,3\n4,5,6\n", True),
        ("a,b,c\n1,2,3\n4,5,6", True),
        ("a,b,c\n1,2,3\n4,5", False),
        ("a,b,c\n1,2,3\n4,5\n", False),
        ('a,b\n"1, one",2\n3,4\n', True),
        ("a;b\n1;2\n3\n", False),
        ("a\n1\n", True),
        ("", True),
    ],
)
def test_a_table_that_was_cut_off_is_refused(tmp_path, text, sound):
    path = tmp_path / "bars.csv"
    path.write_text(text)
    with contextlib.nullcontext() if sound else pytest.raises(DataError, match="cut off"):
        check_last_line(path)
