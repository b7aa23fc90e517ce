"""The shared budget: no window of the venue holds more than its limit, whoever asks, however long it takes, and whoever dies."""

import asyncio
import heapq
import itertools
import json
import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.errors import UsageError
from quantalpha.market.budget import LONGEST_STOP, Budget, Limit, Stopped

LIMIT = Limit(20, 10.0)


class Time:
    """A clock that jumps to the next moment anybody waits for, once nobody has anything to do."""

    def __init__(self):
        self.now, self._waiting, self._numbers = 1_000.0, [], itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.now + seconds, next(self._numbers), awake))
        await awake

    async def run(self, *work):
        tasks = [asyncio.ensure_future(each) for each in work]
        while not all(task.done() for task in tasks):
            for _ in range(4):
                await asyncio.sleep(0)
            if self._waiting and not all(task.done() for task in tasks):
                self.now, _, awake = heapq.heappop(self._waiting)
                awake.set_result(None)
        return [task.result() for task in tasks]


def of(folder, clock, **changes):
    return Budget(Path(folder), {"weight": LIMIT}, clock=clock, sleep=clock.sleep, **changes)


requests = st.lists(st.tuples(st.sampled_from([1, 2, 5]), st.floats(0.0, 3.0), st.floats(0.0, 1.0)), min_size=1, max_size=25)


@settings(max_examples=40)
@given(workers=st.lists(requests, min_size=1, max_size=4), share=st.sampled_from([0.5, 0.8, 1.0]))
def test_no_window_of_any_alignment_exceeds_the_share(workers, share):
    """Each request reaches the venue somewhere between being sent and being answered."""
    arrived = []

    async def ask(budget, clock, tasks):
        for weight, latency, where in tasks:
            async with budget.spend({"weight": weight}):
                await clock.sleep(latency * where)
                arrived.append((clock.now, weight))
                await clock.sleep(latency * (1 - where))

    async def play(folder):
        clock = Time()
        await clock.run(*(ask(of(folder, clock, share=share), clock, tasks) for tasks in workers))

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(folder))
    assert sum(weight for _, weight in arrived) == sum(weight for tasks in workers for weight, *_ in tasks), "none is lost"
    for begin, _ in arrived:
        held = sum(weight for at, weight in arrived if begin <= at < begin + LIMIT.seconds)
        assert held <= share * LIMIT.most


def test_what_is_allowed_is_used(tmp_path):
    async def play():
        clock = Time()
        budget = of(tmp_path, clock)

        async def ask():
            for _ in range(50):
                async with budget.spend({"weight": 1}):
                    await clock.sleep(0.01)

        begin = clock.now
        await clock.run(*(ask() for _ in range(4)))
        return clock.now - begin

    assert asyncio.run(play()) < 1.15 * (200 / LIMIT.most - 1) * LIMIT.seconds


def test_two_limits_hold_at_once(tmp_path):
    async def play():
        clock = Time()
        budget = Budget(tmp_path, {"weight": Limit(100, 1), "orders": Limit(2, 10)}, clock=clock, sleep=clock.sleep)
        times = []

        async def ask():
            for _ in range(6):
                async with budget.spend({"weight": 1, "orders": 1}):
                    times.append(clock.now)

        await clock.run(ask())
        return times

    times = asyncio.run(play())
    assert all(later - earlier >= 10 for earlier, later in zip(times, times[2:]))


def test_a_stop_holds_everybody_and_one_too_long_is_told(tmp_path):
    async def play():
        clock = Time()
        one, other = of(tmp_path, clock), of(tmp_path, clock, patience=60)

        async def ask():
            one.stop(30)
            begin = clock.now
            async with other.spend({"weight": 1}):
                waited = clock.now - begin
            one.stop(3600)
            with pytest.raises(Stopped, match="left alone for 3600 s") as told:
                async with other.spend({"weight": 1}):
                    pass
            return waited, told.value.wait

        return (await clock.run(ask()))[0]

    waited, wait = asyncio.run(play())
    assert 30 <= waited < 33 and wait == pytest.approx(3600)


def spent(budget, weight):
    async def once():
        async with budget.spend({"weight": weight}):
            pass

    asyncio.run(once())


def test_what_the_venue_says_counts(tmp_path):
    clock = Time()
    budget = of(tmp_path, clock)
    spent(budget, 4)
    budget.correct("weight", Limit(11, 10.0))
    assert budget.used("weight") == 11, "somebody else at this address used seven"
    budget.correct("weight", Limit(3, 10.0))
    budget.correct("weight", Limit(500, 60.0))
    assert budget.used("weight") == 11, "the venue's window began later, or is another one"
    clock.now += 11
    assert budget.used("weight") == 0


def test_limits_are_learnt_for_all_processes_and_kept(tmp_path):
    clock = Time()
    of(tmp_path, clock).learn({"weight": Limit(3, 10.0)})
    with pytest.raises(UsageError, match="one request weighs 4, and the venue allows 3 weight in 10 s"):
        spent(of(tmp_path, clock), 4)


def test_a_request_heavier_than_the_share_goes_alone(tmp_path):
    clock = Time()
    budget = of(tmp_path, clock, share=0.5)
    spent(budget, 18)
    assert budget.used("weight") == 18 and budget._change(lambda state: state.reserve("next", {"weight": 1}, budget)) > 9


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"at": 1}'])
def test_a_state_that_cannot_be_read_counts_as_a_full_window(tmp_path, left):
    clock = Time()
    (tmp_path / "state.json").write_bytes(left)
    budget = of(tmp_path, clock)
    spent(budget, 0)
    assert budget.used("weight") == LIMIT.most


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("weight"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("weight"), inner, max_size=3),
    max_leaves=6,
)
SPENT = {"limits": {"weight": [20, 10.0]}, "done": {"weight": [[995.0, 3]]}, "open": {"a": [1010.0, {"weight": 2}]}}
SOUND = {"at": 990.0, "until": 0.0} | SPENT
PLACES = ["", *SOUND, "limits weight", "limits weight 0", "limits weight 1", "limits new", "done new", "done weight", "done weight 0"]
PLACES += ["done weight 0 0", "done weight 0 1", "open a", "open a 0", "open a 1", "open a 1 weight", "open a 1 new"]


def put(state, place: str, value):
    """A copy of a state with something else at a place in it."""
    first, _, rest = place.partition(" ")
    if not first:
        return value
    at, copy = int(first) if first.isdigit() else first, state.copy()
    copy[at] = put(copy[at] if rest else None, rest, value)
    return copy


@settings(max_examples=300)
@given(place=st.sampled_from(PLACES), value=ANYTHING)
def test_whatever_a_state_holds_it_is_understood_or_counts_as_a_full_window(place, value):
    with tempfile.TemporaryDirectory() as folder:
        clock, told = Time(), put(SOUND, place, value)
        (Path(folder) / "state.json").write_text(json.dumps(told))
        budget = of(folder, clock)
        assert budget.used("weight") >= 0
        budget.stop(1.0)
        clock.now += 2e12  # longer than anything in it can mean
        assert budget._change(lambda state: state.reserve("next", {"weight": 0}, budget)) == 0.0


@pytest.mark.parametrize(
    ("place", "value"),
    [("at", "x"), ("until", None), ("limits", []), ("done new", [[1, 2]]), ("open", [1]), ("done weight", [1]), ("done weight 0 0", 9e9)],
)
def test_a_state_of_another_shape_counts_as_a_full_window(tmp_path, place, value):
    (tmp_path / "state.json").write_text(json.dumps(put(SOUND, place, value)))
    assert of(tmp_path, Time()).used("weight") == LIMIT.most


def test_a_state_as_it_is_written_is_understood(tmp_path):
    (tmp_path / "state.json").write_text(json.dumps(SOUND))
    assert of(tmp_path, Time()).used("weight") == 5


@pytest.mark.parametrize("seconds", [1.7e9, float("inf")])
def test_no_stop_is_longer_than_the_longest_ban(tmp_path, seconds):
    budget = of(tmp_path, Time())
    budget.stop(seconds)
    with pytest.raises(Stopped, match=f"for {LONGEST_STOP:.0f} s"):
        spent(budget, 1)
    for wrong in (-1.0, float("nan")):
        with pytest.raises(UsageError, match="expected seconds"):
            budget.stop(wrong)


def test_a_process_that_was_stopped_before_it_sent_makes_room_anew(tmp_path):
    """Stopped for longer than its reservation lives: another has taken the room, and it must not send on the old one."""

    async def play():
        clock = Time()
        other, frozen = of(tmp_path, clock, lifetime=30), [True]

        def awakened() -> float:
            begun = (tmp_path / "state.json").exists()
            if begun and frozen:
                frozen.clear()
                clock.now += 30 + LIMIT.seconds + 1
                assert other._change(lambda state: state.reserve("other", {"weight": 20}, other)) == 0.0
            return clock.now

        stopped = Budget(tmp_path, {"weight": LIMIT}, lifetime=30, clock=awakened, sleep=clock.sleep)

        async def ask():
            async with stopped.spend({"weight": 20}):
                return clock.now - stop

        stop = clock.now + 30 + LIMIT.seconds + 1
        return (await clock.run(ask()))[0]

    assert asyncio.run(play()) >= 30 + LIMIT.seconds


def test_a_state_from_before_a_reboot_is_void(tmp_path):
    clock = Time()
    budget = of(tmp_path, clock)
    spent(budget, 20)
    budget.stop(3600)
    clock.now = 5.0
    assert budget.used("weight") == 0
    spent(budget, 1)


def test_a_request_of_a_process_that_died_counts_until_it_cannot_be_under_way(tmp_path):
    clock = Time()
    budget = of(tmp_path, clock, lifetime=30)

    dying, loop = budget.spend({"weight": 7}), asyncio.new_event_loop()
    loop.run_until_complete(dying.__aenter__())
    loop.close()  # with nobody to end the request
    clock.now += 29
    assert budget.used("weight") == 7
    clock.now += 10
    assert budget.used("weight") == 7, "it may have reached the venue at the end of its life"
    clock.now += 2
    assert budget.used("weight") == 0


def _spend_forever(folder, started, log):
    budget = Budget(Path(folder), {"weight": Limit(30, 1.0)}, lifetime=0.5)

    async def ask():
        while True:
            async with budget.spend({"weight": 1}):
                with open(log, "a") as file:
                    file.write(f"{time.monotonic()}\n")
                await asyncio.sleep(0.001)
            started.set()

    asyncio.run(ask())


def test_processes_share_it_and_one_that_is_killed_harms_nobody(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["collecting", "ccxt.async_support"])
    log = tmp_path / "asked"
    events = [context.Event() for _ in range(4)]
    workers = [context.Process(target=_spend_forever, args=(tmp_path / "budget", event, log), daemon=True) for event in events]
    for worker, event in zip(workers, events):
        worker.start()
        assert event.wait(30)
    for worker in workers[:2]:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    count = len(log.read_text().splitlines())
    until = time.monotonic() + 20
    while len(log.read_text().splitlines()) < count + 60 and time.monotonic() < until:
        time.sleep(0.05)
    for worker in workers[2:]:
        worker.kill()
        worker.join()
    times = sorted(float(line) for line in log.read_text().splitlines())
    assert len(times) >= count + 60, "the others go on"
    assert max(sum(begin <= at < begin + 1 for at in times) for begin in times) <= 30
    assert json.loads((tmp_path / "budget" / "state.json").read_text())["limits"] == {"weight": [30, 1.0]}


def test_a_full_disk_keeps_nobody_from_closing_a_position(tmp_path):
    budget = Budget(tmp_path, {"weight": LIMIT})
    asyncio.run(_spend(budget))
    (tmp_path / "state.tmp").symlink_to("/dev/full")
    asyncio.run(_spend(budget))


def test_a_process_that_hangs_with_the_lock_holds_up_nobody_for_long(tmp_path):
    """Neither the session nor its watchdog nor `quantalpha kill`."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hang_with_the_lock, args=(tmp_path, ready))
    holder.start()
    try:
        assert ready.wait(60)
        asyncio.run(asyncio.wait_for(_spend(Budget(tmp_path, {"weight": LIMIT})), 30))
        assert holder.is_alive()
    finally:
        holder.kill()
        holder.join()


async def _spend(budget):
    async with budget.spend({"weight": 1}):
        pass


def _hang_with_the_lock(folder, ready):
    from quantalpha.files import locked

    with locked(folder):
        ready.set()
        time.sleep(120)


def test_what_was_reserved_ahead_is_one_requests_and_for_a_moment_only(tmp_path):
    clock = Time()

    async def spend(budget, weight):
        async with budget.spend({"weight": weight}):
            return budget.used("weight")

    async def play(budget, other):
        for _ in range(3):
            budget.ahead({"weight": 4})
        assert other.used("weight") == 4  # said again, it is one request's; everybody sees it
        assert await spend(budget, 4) == 4 and await spend(budget, 4) == 8  # the second has its own
        budget.ahead({"weight": 4})
        assert await spend(budget, 5) == 8 + 4 + 5  # another request does not take it
        clock.now += 2.0
        assert await spend(budget, 3) == 20
        with pytest.raises(asyncio.TimeoutError):  # too late for what was reserved: it waits like anybody
            async with asyncio.timeout(0.05):
                await spend(budget, 4)

    asyncio.run(play(of(tmp_path, clock), of(tmp_path, clock)))


def test_where_there_is_no_room_or_a_stop_nothing_is_reserved_ahead(tmp_path):
    clock = Time()

    async def play(budget):
        async with budget.spend({"weight": 18}):
            budget.ahead({"weight": 4})
            assert budget.used("weight") == 18
            budget.ahead({"weight": 2})
            budget.stop(1000.0)
            with pytest.raises(Stopped):
                async with budget.spend({"weight": 2}):
                    pass
            budget.ahead({"weight": 2})  # quietly

    asyncio.run(play(of(tmp_path, clock)))
