"""Laws of triple-barrier labels on random paths, and agreement with a plain reading of the definition."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import schema
from quantalpha.labels import triple_barrier


@st.composite
def paths(draw):
    """(bars, settings): prices on a coarse grid, so that levels are hit exactly, jumped over and met together."""
    rows = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    close = 64.0 + np.clip(np.cumsum(rng.integers(-3, 4, rows)), -40, 40)
    open_ = np.clip(np.concatenate(([64.0], close[:-1])) + rng.integers(-1, 2, rows) * (rng.random(rows) < 0.3), 4, None)
    high = np.maximum(open_, close) + rng.integers(0, 3, rows)
    low = np.minimum(open_, close) - rng.integers(0, 3, rows)
    index = schema.from_epoch_ms(np.cumsum(rng.integers(1, 4, rows)) * 60_000)
    bars = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)
    choice = {
        "take_profit": draw(st.sampled_from([0.5, 1.0, 2.0])),
        "stop_loss": draw(st.sampled_from([0.5, 1.0, 2.0])),
        "horizon": draw(st.integers(1, 12)),
        "volatility": pd.Series(rng.choice([0.03125, 0.0625, np.nan], rows, p=[0.5, 0.4, 0.1]), index),
        "side": pd.Series(rng.choice([1.0, -1.0], rows), index),
        "entry": draw(st.sampled_from(["next_open", "close"])),
    }
    return bars, choice


def plain_reading(bars, take_profit, stop_loss, horizon, volatility, side, entry):
    """(label, end_time, ret, barrier) per row, straight from the definition."""
    rows, answers = list(bars.itertuples()), []
    for i in range(len(rows)):
        answer = (np.nan, pd.NaT, np.nan, np.nan)
        s, v = side.iloc[i], volatility.iloc[i]
        if i + 1 < len(rows) and not np.isnan(v):
            start = rows[i + 1].open if entry == "next_open" else rows[i].close
            target, stop = start * (1 + s * take_profit * v), start * (1 - s * stop_loss * v)
            for k in range(i + 1, min(i + horizon, len(rows) - 1) + 1):
                bar = rows[k]
                exit_ = None
                if s > 0 and bar.low <= stop or s < 0 and bar.high >= stop:
                    beyond = bar.open < stop if s > 0 else bar.open > stop
                    label, barrier, exit_ = -1.0, "stop_loss", bar.open if beyond else stop
                elif s > 0 and bar.high >= target or s < 0 and bar.low <= target:
                    beyond = bar.open > target if s > 0 else bar.open < target
                    label, barrier, exit_ = 1.0, "take_profit", bar.open if beyond else target
                elif k == i + horizon:
                    label, barrier, exit_ = 0.0, "time", bar.close
                if exit_ is not None:
                    answer = (label, bar.Index, s * (exit_ / start - 1), barrier)
                    break
        answers.append(answer)
    return pd.DataFrame(answers, index=bars.index, columns=["label", "end_time", "ret", "barrier"])


@settings(max_examples=150, deadline=None)
@given(paths())
def test_labels_follow_the_definition(path):
    bars, choice = path
    found, expected = triple_barrier(bars, **choice), plain_reading(bars, **choice)
    np.testing.assert_array_equal(found.label, expected.label)
    np.testing.assert_allclose(found.ret, expected.ret, atol=1e-13)
    for name in ("barrier", "end_time"):
        pd.testing.assert_series_equal(found[name].astype(object), expected[name].astype(object))


@settings(max_examples=60, deadline=None)
@given(paths(), st.integers(-20, 20))
def test_scale_of_prices_does_not_matter(path, power):
    bars, choice = path
    scaled = bars.copy()
    scaled[["open", "high", "low", "close"]] *= 2.0**power
    pd.testing.assert_frame_equal(triple_barrier(scaled, **choice), triple_barrier(bars, **choice))


@settings(max_examples=60, deadline=None)
@given(paths())
def test_a_short_is_a_long_in_the_mirror(path):
    bars, choice = path
    mirror = bars.copy()
    for name, source in (("open", "open"), ("high", "low"), ("low", "high"), ("close", "close")):
        mirror[name] = 256.0 - bars[source]
    # the same distance is another fraction of the mirrored entry price: v * entry = v' * (256 - entry)
    entry = bars.open.shift(-1) if choice["entry"] == "next_open" else bars.close
    other = (256.0 - entry) / entry
    choice_mirror = choice | {"side": -choice["side"], "volatility": choice["volatility"] / other}
    found, expected = triple_barrier(mirror, **choice_mirror), triple_barrier(bars, **choice)
    exact = _clear_of_levels(bars, choice)
    np.testing.assert_array_equal(found.label[exact], expected.label[exact])
    np.testing.assert_allclose((found.ret * other)[exact], expected.ret[exact], atol=1e-12)


def _clear_of_levels(bars, choice):
    """Rows whose label does not hang on a rounding: the same with barriers a trifle nearer and farther."""
    near = triple_barrier(bars, **choice | {"volatility": choice["volatility"] * (1 - 1e-9)}).label
    far = triple_barrier(bars, **choice | {"volatility": choice["volatility"] * (1 + 1e-9)}).label
    return ((near == far) | (near.isna() & far.isna())).to_numpy()


@settings(max_examples=60, deadline=None)
@given(paths(), st.integers(0, 39))
def test_a_label_is_final_at_its_end_and_never_before(path, cut):
    bars, choice = path
    known = bars.iloc[: cut + 1]
    part = {name: value.loc[known.index] if isinstance(value, pd.Series) else value for name, value in choice.items()}
    full, early = triple_barrier(bars, **choice).loc[known.index], triple_barrier(known, **part)
    done = (full.end_time <= known.index[-1]).to_numpy()
    pd.testing.assert_frame_equal(early[done], full[done])
    assert early[~done].label.isna().all()


@settings(max_examples=60, deadline=None)
@given(paths())
def test_returns_agree_with_labels(path):
    bars, choice = path
    table = triple_barrier(bars, **choice)
    scale = choice["volatility"]
    assert (table.ret >= scale * choice["take_profit"] - 1e-12)[table.label == 1].all()
    assert (table.ret <= -scale * choice["stop_loss"] + 1e-12)[table.label == -1].all()
    held = bars.index.get_indexer(table.end_time.dropna()) - np.flatnonzero(table.end_time.notna())
    assert ((held >= 1) & (held <= choice["horizon"])).all()
    assert (held == choice["horizon"])[table.barrier.dropna() == "time"].all()
