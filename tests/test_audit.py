"""Records of what people decided: whole or not there, in order, and nothing changed unnoticed."""

import json
import os
import re
import signal

import pytest

from quantalpha import audit
from quantalpha.errors import DataError, UsageError
from quantalpha.secrets import environment


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "kept" / "record.jsonl"
    for name in ("one", "two", "three"):
        audit.append(path, lambda earlier, name=name: {"name": name, "before": len(earlier)})
    return path


def test_every_line_is_kept_in_order_and_knows_those_before(record):
    lines = audit.read(record)
    assert [(line["name"], line["before"]) for line in lines] == [("one", 0), ("two", 1), ("three", 2)]
    assert lines[0]["previous"] == "" and len({line["previous"] for line in lines}) == 3
    assert audit.read(record.with_name("nothing.jsonl")) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: lines[1:], "line 1 does not follow"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not follow"),
        (lambda lines: [lines[1], lines[0], lines[2]], "line 1 does not follow"),
        (lambda lines: [lines[0].replace("one", "own"), *lines[1:]], "line 2 does not follow"),
        (lambda lines: [*lines[:2], lines[2][:40]], "line 3 is cut off"),
        (lambda lines: [*lines, "7"], "line 4 is cut off or damaged"),
    ],
)
def test_what_was_altered_is_neither_read_nor_added_to(record, spoil, says):
    record.write_text("\n".join(spoil(record.read_text().splitlines())) + "\n")
    before = record.read_bytes()
    with pytest.raises(DataError, match=says):
        audit.read(record)
    with pytest.raises(DataError, match=says):
        audit.append(record, lambda earlier: {"name": "four"})
    assert record.read_bytes() == before


def test_killed_at_every_write_it_holds_the_line_or_does_not(record):
    """A fork that kills itself at each of its writes to the disk in turn."""
    for steps in (1, 2):
        child = os.fork()
        if child == 0:
            left = [steps]

            def step(handle, left=left):
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

            os.fsync = step
            audit.append(record, lambda earlier: {"name": "more", "before": len(earlier)})
            os._exit(0)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert len(audit.read(record)) == 2 + steps  # before the rename, and after it
    assert audit.append(record, lambda earlier: {"name": "last", "before": len(earlier)})["before"] == 4


def test_two_at_once_both_get_in(record):
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            for _ in range(5):
                audit.append(record, lambda earlier: {"name": "x", "before": len(earlier)})
            os._exit(0)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    assert [line["before"] for line in audit.read(record)] == list(range(23))


def test_a_stamp_says_when_who_and_why_without_a_secret(monkeypatch):
    monkeypatch.setenv("DESK_TOKEN", "hunter2-77")
    environment.cache_clear()
    stamped = audit.stamp(" because hunter2-77 ", "it was done")
    environment.cache_clear()
    assert stamped["reason"] == "because ***" and re.fullmatch(r"\S+@\S*", stamped["who"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", stamped["time"]) and json.dumps(stamped)
    assert audit.stamp("")["reason"] == ""
    with pytest.raises(UsageError, match="--reason: expected why it was done, found nothing"):
        audit.stamp(" ", "it was done")
