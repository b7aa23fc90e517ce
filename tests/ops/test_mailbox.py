"""What is told when there is too much to tell: nothing urgent is lost, and what was held back is said."""

import threading
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from quantalpha.ops.mailbox import Mailbox, Ration
from quantalpha.ops.words import Message


def fill(n):
    return Message("fill", ("fill", n), f"fill {n}")


def switch(n):
    return Message("switch", ("switch", n), f"switch {n}", urgent=True)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def taken(box):
    return [box.take(0) for _ in range(box_length(box))]


def box_length(box):
    return len(box._pending) + bool(box.dropped)


def test_urgent_first_then_in_order():
    box = Mailbox()
    for message in (fill(1), fill(2), switch(1)):
        box.put(message)
    assert [message.text for message, _ in taken(box)] == ["switch 1", "fill 1", "fill 2"]


def test_the_same_thing_waits_once_and_is_counted():
    box = Mailbox()
    for _ in range(3):
        box.put(switch(1))
    assert box.take(0) == (switch(1), 3) and box.take(0) is None


def test_a_full_box_refuses_the_ordinary_gives_way_to_the_urgent_and_says_so():
    box = Mailbox(capacity=3)
    for n in range(5):
        box.put(fill(n))
    box.put(switch(1))
    assert [message.text for message, _ in taken(box)] == ["switch 1", "not told, the queue was full: fill x 3", "fill 1", "fill 2"]


messages = st.lists(st.builds(lambda make, n: make(n), st.sampled_from([fill, switch]), st.integers(0, 30)), max_size=80)


@given(messages, st.integers(31, 40))
def test_every_message_is_taken_or_counted_and_no_urgent_one_is_lost(put, capacity):
    box = Mailbox(capacity)
    for message in put:
        box.put(message)
    lost = box.dropped.total()
    out = [pair for pair in taken(box) if pair[0].key != ("dropped",)]
    assert sum(times for _, times in out) + lost >= len({m.key for m in put}) and len(out) <= capacity
    assert {m.key for m in put if m.urgent} <= {m.key for m, _ in out}
    assert lost == 0 or len({m.key for m in put}) > capacity


def test_a_reader_waits_until_something_is_put_or_the_box_is_closed():
    box, read = Mailbox(), []
    reader = threading.Thread(target=lambda: read.extend([box.take(None), box.take(None)]))
    reader.start()
    box.put(fill(1))
    box.close()
    reader.join(30)
    assert read == [(fill(1), 1), None] and box.finished


def test_the_same_thing_is_told_again_only_after_a_while():
    clock = Clock()
    ration = Ration(300.0, 20, clock)
    assert ration.admit(switch(1)) and not ration.admit(switch(1))
    clock.now = 299.0
    assert not ration.admit(switch(1), times=4)
    assert ration.summary().text == "held back: again: switch 1 x 5"
    clock.now = 300.0
    assert ration.admit(switch(1))


def test_so_many_a_minute_but_urgent_ones_always():
    clock = Clock()
    ration = Ration(300.0, 5, clock)
    assert [ration.admit(fill(n)) for n in range(8)] == [True] * 5 + [False] * 3
    assert ration.admit(switch(1)) and ration.summary() is None
    clock.now = 60.0
    assert ration.summary().text == "held back: fill x 3" and ration.summary() is None
    assert [ration.admit(fill(n)) for n in range(10, 16)] == [True] * 4 + [False] * 2, "the summary counts as well"
    assert ration.summary(last=True).text == "held back: fill x 2", "a session that ends says it at once"


steps = st.lists(st.tuples(st.sampled_from([fill, switch]), st.integers(0, 10), st.floats(0, 40)), max_size=60)


@given(steps)
def test_what_happened_is_told_or_summed_up(steps):
    clock = Clock()
    ration, told, held = Ration(100.0, 3, clock), Counter(), 0
    for make, n, later in steps:
        clock.now += later
        told[make(n).topic] += ration.admit(make(n))
        summary = ration.summary()
        held += 0 if summary is None else sum(int(part.rpartition(" x ")[2]) for part in summary.text.split(", "))
    assert told.total() + held + ration.held.total() == len(steps)
