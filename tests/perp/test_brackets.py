"""Maintenance tables: the venue's own amounts, the right table at the right time, and nothing invented in between."""

from datetime import date
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import UsageError
from quantalpha.perp.brackets import ALTCOIN, Bracket, bracket_schedule, brackets_for, check_brackets, maintenance_margin, rates_and_amounts

# Maintenance amounts as the venue states them (`cum` of /fapi/v1/leverageBracket; BTCUSDT of March 2021: its own calculator).
PUBLISHED = [
    ("BTCUSDT", "2021-03-20", [0, 50, 1_300, 16_300, 266_300, 1_266_300, 2_516_300, 5_016_300, 25_016_300, 100_016_300]),
    ("BTCUSDT", "2024-01-01", [0, 50, 1_300, 46_300, 546_300, 2_546_300, 5_046_300, 8_046_300, 28_046_300, 103_046_300]),
    ("BTCUSDT", "2025-01-01", [
        0, 50, 950, 11_450, 131_450, 481_450, 2_981_450, 14_481_450, 26_481_450, 41_481_450, 121_481_450, 421_481_450]),
    ("BTCUSDT", None, [0, 300, 1_500, 12_000, 132_000, 482_000, 2_982_000, 14_482_000, 26_482_000, 41_482_000, 121_482_000, 421_482_000]),
    ("ETHUSDT", "2024-01-01", [0, 150, 1_025, 21_025, 471_025, 1_971_025, 3_471_025, 5_471_025, 15_471_025, 52_971_025]),
    ("ETHUSDT", "2025-01-01", [
        0, 50, 950, 11_450, 131_450, 381_450, 2_006_450, 9_506_450, 17_506_450, 27_506_450, 80_506_450, 280_506_450]),
    ("ETHUSDT", None, [0, 300, 1_500, 12_000, 132_000, 382_000, 2_007_000, 9_507_000, 17_507_000, 27_507_000, 80_507_000, 280_507_000]),
    ("BTCDOMUSDT", "2023-09-01", [0, 75, 700, 5_700, 11_950, 386_950]),
]  # fmt: skip
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@pytest.mark.parametrize(("symbol", "at", "amounts"), PUBLISHED)
def test_amounts_follow_from_continuity(symbol, at, amounts):
    assert rates_and_amounts(brackets_for(symbol, at))[1] == pytest.approx(np.array(amounts, float), rel=1e-12)


def test_the_first_amounts_of_the_small_altcoins_of_2025():
    assert rates_and_amounts(brackets_for("HIVEUSDT", "2025-09-16"))[1][:6] == pytest.approx([0, 50, 300, 1_300, 2_550, 12_975])


def test_the_other_venue_derives_its_amounts_the_same_way():
    """Bybit, margin parameters of BTCUSDT: risk limit of each tier, its maintenance rate in percent and its deduction, as published."""
    limits = np.array([2.0, 2.6, 3.2, 3.8, 4.4, 5.0, 5.6, 8.5, 10.0, 14.0, 20.0, 28.0, 38.0]) * 1e6
    rates = np.array([0.5, 0.56, 0.63, 0.67, 0.71, 0.77, 0.91, 1.0, 1.3, 1.5, 1.6, 2.0, 2.5, 2.9]) / 100
    deductions = [0, 1_200, 3_020, 4_300, 5_820, 8_460, 15_460, 20_500, 46_000, 66_000, 80_000, 160_000, 300_000, 452_000]
    table = [Bracket(*row) for row in zip(np.append(0.0, limits), rates)]
    assert rates_and_amounts(check_brackets(table))[1] == pytest.approx(deductions)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_table_is_sound_and_stands_in_time_order(symbol):
    schedule = bracket_schedule(symbol)
    starts = [start for start, _ in schedule]
    assert all(start.tz is not None for start in starts) and all(a < b for a, b in pairwise(starts))
    assert all(check_brackets(table) == table for _, table in schedule)


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        (None, 0.01),
        ("2019-09-10", 0.05),  # unknown: the strictest known table
        ("2021-03-18T08:59:59", 0.05),
        ("2021-03-18T09:00", 0.025),
        (pd.Timestamp("2021-06-22T12:29:59", tz="Asia/Tokyo"), 0.025),
        (pd.Timestamp("2021-06-22T12:30", tz="Asia/Tokyo"), 0.05),
        (date(2022, 5, 1), 0.05),
        ("2023-09-29", 0.025),
        ("2024-09-27", 0.01),
    ],
)
def test_the_table_in_force(at, rate):
    """The rate that a BTCUSDT position of seven million pays on its last dollar."""
    assert max(bracket for bracket in brackets_for("BTCUSDT", at) if bracket.floor < 7e6).rate == rate


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_start_begins_its_table(symbol):
    schedule = bracket_schedule(symbol)
    for (_, before), (start, table) in pairwise(schedule):
        assert brackets_for(symbol, start) == table and brackets_for(symbol, start - pd.Timedelta("1ms")) == before
    assert brackets_for(symbol) == schedule[-1][1] and brackets_for(symbol, "1960-01-01") == schedule[0][1]


@pytest.mark.parametrize(("symbol", "since"), [("BTCUSDT", "2021-06-22"), ("ETHUSDT", "1970-01-01")])
def test_a_later_table_is_never_stricter(symbol, since):
    """So keeping the older one, where the day of a change is unknown, errs to the strict side: up to 200 million, beyond which the ETHUSDT
    table of 2021 had no bracket."""
    tables = [table for start, table in bracket_schedule(symbol) if start >= pd.Timestamp(since, tz="UTC")]
    for older, newer in pairwise(tables):
        for notional in np.geomspace(100.0, 2e8, 400):
            assert maintenance_margin(notional, newer) <= maintenance_margin(notional, older) * (1 + 1e-12)


def test_before_the_first_known_table_the_strictest_stands():
    tables = [table for _, table in bracket_schedule("BTCUSDT")]
    for notional in np.geomspace(100.0, 5e9, 400):
        assert maintenance_margin(notional, tables[0]) >= max(maintenance_margin(notional, table) for table in tables) * (1 - 1e-12)


def test_unlisted_symbols_share_the_small_altcoins_table():
    assert brackets_for("SOLUSDT", "2024-01-01") == ALTCOIN == brackets_for("XYZUSDT", "2020-01-01")
    assert brackets_for("SOLUSDT", "2025-09-15T06:30")[0].rate == 0.015


@pytest.mark.parametrize("at", ["yesterday week", "NaT", pd.NaT, [1, 2]])
def test_refuses_what_is_no_time(at):
    with pytest.raises(UsageError, match="expected a date or time"):
        brackets_for("BTCUSDT", at)
