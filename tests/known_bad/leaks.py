"""Leaks seen in the field and ways to hide them, each a function from bars to a Series or DataFrame; `LEAKS[name]()` gives a new one."""

from functools import lru_cache

import numpy as np
import pandas as pd
import pywt
from scipy import signal
from scipy.cluster.vq import kmeans2
from scipy.interpolate import make_smoothing_spline
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from quantalpha.labels import triple_barrier

LEAKS = {}


def leak(function):
    LEAKS[function.__name__] = lambda: function
    return function


def stateful(factory):
    LEAKS[factory.__name__] = factory
    return factory


def change(bars):
    return bars.close.pct_change()


def following(bars):
    return bars.close.shift(-1) / bars.close - 1


def patched(bars):
    return following(bars).fillna(0.0)


def one_in_a_hundred(bars):
    """Rows chosen by the trades they hold: a flag known at the row."""
    return (bars.volume * 1e6).round().astype("int64") % 101 == 0


# The next bar, in all rows or in few


@leak
def next_return(bars):
    return following(bars)


@leak
def next_return_patched_at_the_end(bars):
    return patched(bars)


@leak
def next_return_of_one_ten_millionth(bars):
    return bars.close * (1 + 1e-7 * np.sign(patched(bars)))


@leak
def next_return_in_one_row_of_a_hundred(bars):
    return change(bars).mask(one_in_a_hundred(bars), patched(bars))


@leak
def next_return_in_one_row_of_two_hundred(bars):
    return change(bars).mask((bars.volume * 1e6).round().astype("int64") % 211 == 0, patched(bars))


@leak
def next_return_at_one_hour_of_the_day(bars):
    return change(bars).mask(bars.index.hour == 13, patched(bars))


@leak
def next_return_in_the_last_hour_of_the_week(bars):
    return change(bars).mask((bars.index.dayofweek == 6) & (bars.index.hour == 23), patched(bars))


@leak
def next_return_in_the_last_hour_of_the_month(bars):
    return change(bars).mask((bars.index + pd.Timedelta(hours=1)).day == 1, patched(bars)).where(bars.index.hour == 23, change(bars))


@leak
def next_return_after_the_largest_moves(bars):
    return change(bars).mask(change(bars).abs() > 4 * change(bars).rolling(240, min_periods=2).std(), patched(bars))


@leak
def next_return_under_a_rare_flag(bars):
    return change(bars).mask(bars.halted > 0, patched(bars))


@leak
def next_return_where_data_is_missing(bars):
    return change(bars).mask(bars.open_interest.isna(), patched(bars))


@leak
def next_return_when_funding_is_paid(bars):
    return change(bars).mask(bars.funding_rate != 0, patched(bars))


@leak
def next_volume(bars):
    return bars.volume.shift(-1).ffill()


@leak
def next_open(bars):
    return (bars.open.shift(-1) / bars.close - 1).fillna(0.0)


@leak
def next_high_when_volume_is_large(bars):
    busy = bars.volume > 2.5 * bars.volume.rolling(48, min_periods=1).mean()
    return (bars.high / bars.close).mask(busy, bars.high.shift(-1) / bars.close)


@leak
def funding_before_it_is_settled(bars):
    return bars.funding_rate.shift(-1).fillna(0.0)


@leak
def funding_of_the_running_interval(bars):
    return bars.funding_rate.replace(0.0, np.nan).bfill()


@leak
def flag_before_a_fall(bars):
    return (following(bars) < -0.02).astype(float)


@leak
def blank_before_a_fall(bars):
    return change(bars).mask(following(bars) < -0.015)


@leak
def next_return_on_top_of_a_running_total(bars):
    """One row of a hundred, on something that remembers all of the past."""
    return bars.volume.cumsum() + (patched(bars) * bars.volume).where(one_in_a_hundred(bars), 0.0)


@leak
def next_return_on_top_of_an_expanding_score(bars):
    score = (bars.close - bars.close.expanding(2).mean()) / bars.close.expanding(2).std()
    return score.mask(one_in_a_hundred(bars), score * (1 + 10 * patched(bars)))


@leak
def next_return_on_top_of_a_slow_average(bars):
    slow = bars.close.ewm(span=2_000).mean()
    return (bars.close / slow - 1).mask(bars.index.hour == 5, patched(bars))


@leak
def fifth_next_return_in_few_rows(bars):
    return change(bars).mask(one_in_a_hundred(bars), change(bars).shift(-5).fillna(0.0))


# Answers, and windows that reach ahead


@leak
def best_price_of_the_next_day(bars):
    return bars.high[::-1].rolling(24, min_periods=1).max()[::-1] / bars.close


@leak
def barrier_label(bars):
    return triple_barrier(bars, take_profit=0.01, stop_loss=0.01, horizon=12).label


@leak
def barrier_label_one_bar_late(bars):
    return triple_barrier(bars, take_profit=0.01, stop_loss=0.01, horizon=12).label.shift(1)


@leak
def volatility_to_come(bars):
    return change(bars).rolling(24).std().shift(-24)


@leak
def volatility_one_bar_early_at_weekends(bars):
    known = change(bars).rolling(24).std()
    return known.mask(bars.index.dayofweek >= 5, known.shift(-1))


@leak
def centred_mean(bars):
    return bars.close.rolling(11, center=True).mean()


@leak
def centred_mean_in_few_rows(bars):
    return (bars.close.rolling(11).mean()).mask(one_in_a_hundred(bars), bars.close.rolling(11, center=True, min_periods=1).mean())


@leak
def seasonal_decomposition(bars):
    return bars.close - bars.close.rolling(25, center=True, min_periods=1).mean()


@leak
def savitzky_golay(bars):
    return pd.Series(signal.savgol_filter(bars.close, 21, 3), bars.index)


@leak
def smoothed_both_ways(bars):
    return bars.close[::-1].ewm(span=10).mean()[::-1]


@leak
def zero_phase_filter(bars):
    return pd.Series(signal.filtfilt(*signal.butter(2, 0.1), bars.close, padlen=min(9, len(bars) - 1)), bars.index)


@leak
def correlation_with_what_follows(bars):
    return bars.volume.rolling(48).corr(following(bars))


# Statistics of the whole series


@leak
def whole_series_score(bars):
    return (bars.close - bars.close.mean()) / bars.close.std()


@leak
def whole_series_rank(bars):
    return bars.volume.rank(pct=True)


@leak
def whole_series_range(bars):
    return (bars.close - bars.close.min()) / (bars.close.max() - bars.close.min())


@leak
def robust_scaling(bars):
    middle = bars.volume.median()
    return (bars.volume - middle) / (bars.volume - middle).abs().median()


@leak
def quantile_bins(bars):
    return pd.qcut(bars.volume, 10, labels=False, duplicates="drop").astype(float)


@leak
def clipped_outliers(bars):
    return change(bars).clip(*change(bars).quantile([0.001, 0.999]))


@leak
def outliers_removed(bars):
    return bars.close.mask((change(bars) / change(bars).std()).abs() > 4).ffill()


@leak
def alarm_by_the_whole_deviation(bars):
    return (change(bars).abs() > 2 * change(bars).std()).astype(float)


@leak
def regime_by_the_whole_median(bars):
    spread = change(bars).rolling(24).std()
    return (spread > spread.median()).astype(float)


@leak
def detrended(bars):
    rows = np.arange(len(bars))
    return bars.close - np.polyval(np.polyfit(rows, bars.close, 1), rows)


@leak
def hourly_average(bars):
    return bars.volume.groupby(bars.index.hour).transform("mean")


@leak
def target_encoding(bars):
    return following(bars).groupby(bars.index.hour).transform("mean")


@leak
def whole_series_fourier(bars):
    transform = np.fft.rfft(bars.close)
    transform[20:] = 0
    return pd.Series(np.fft.irfft(transform, len(bars)), bars.index)


@leak
def fourier_fractional_difference(bars):
    price = np.log(bars.close.to_numpy())
    size = 2 * len(price)
    frequency = 2 * np.pi * np.fft.rfftfreq(size)
    return pd.Series(np.fft.irfft(np.fft.rfft(price, size) * (2 * np.sin(frequency / 2)) ** 0.4, size)[: len(price)], bars.index)


@leak
def instantaneous_phase(bars):
    return pd.Series(np.angle(signal.hilbert(change(bars).fillna(0.0))), bars.index)


@leak
def whole_series_wavelet(bars):
    levels = pywt.wavedec(bars.close.to_numpy().copy(), "db4", level=3, mode="periodization")
    noise = np.median(np.abs(levels[-1])) / 0.6745 * np.sqrt(2 * np.log(len(bars)))
    kept = [levels[0], *(pywt.threshold(level, noise, "soft") for level in levels[1:])]
    return pd.Series(pywt.waverec(kept, "db4", mode="periodization")[: len(bars)], bars.index)


@leak
def smoothing_spline(bars):
    return pd.Series(make_smoothing_spline(np.arange(len(bars)), bars.close.to_numpy(), lam=100.0)(np.arange(len(bars))), bars.index)


@leak
def principal_component(bars):
    inputs = bars[["close", "volume", "trades"]].pct_change().clip(-1, 1).fillna(0.0)
    return pd.Series(PCA(1).fit_transform(inputs)[:, 0], bars.index)


@leak
def clusters(bars):
    inputs = np.column_stack([change(bars).fillna(0.0), bars.volume / 1e4])
    return pd.Series(kmeans2(inputs, inputs[:3], minit="matrix")[1].astype(float), bars.index)


@leak
def regression_on_all_rows(bars):
    inputs = np.column_stack([change(bars).fillna(0.0), change(bars).rolling(24, min_periods=1).mean().fillna(0.0)])
    return pd.Series(LinearRegression().fit(inputs, patched(bars)).predict(inputs), bars.index)


@leak
def neighbours_from_all_times(bars):
    inputs = np.column_stack([change(bars).shift(lag).fillna(0.0) for lag in range(3)])
    return pd.Series(KNeighborsRegressor(5).fit(inputs, patched(bars)).predict(inputs), bars.index)


@leak
def best_window_of_the_whole_series(bars):
    signals = [change(bars).rolling(window).mean() for window in (6, 12, 24, 48, 96)]
    return max(signals, key=lambda found: abs(found.corr(following(bars))))


@leak
def regime_probability_smoothed(bars):
    """Two volatility states with known parameters, forward and backward."""
    scaled = change(bars).fillna(0.0).to_numpy() / 0.008
    likely = np.exp(-0.5 * (scaled[:, None] / (0.6, 1.7)) ** 2) / (0.6, 1.7) + 1e-12
    stay = np.array([[0.97, 0.03], [0.03, 0.97]])
    forward, backward = np.full_like(likely, 0.5), np.full_like(likely, 0.5)
    for row in range(1, len(likely)):
        forward[row] = likely[row] * (forward[row - 1] @ stay)
        forward[row] /= forward[row].sum()
    for row in range(len(likely) - 2, -1, -1):
        backward[row] = stay @ (likely[row + 1] * backward[row + 1])
        backward[row] /= backward[row].sum()
    both = forward * backward
    return pd.Series(both[:, 1] / both.sum(axis=1), bars.index)


@leak
def kalman_smoother(bars):
    """A local level, gain 0.2 each way."""
    forward = bars.close.ewm(alpha=0.2, adjust=False).mean()
    return forward[::-1].ewm(alpha=0.2, adjust=False).mean()[::-1]


@leak
def extreme_from_the_end(bars):
    return bars.high[::-1].cummax()[::-1] / bars.close


@leak
def share_of_the_last_price(bars):
    return bars.close / bars.close.iloc[-1]


@leak
def most_volatile_bar(bars):
    size = np.log(bars.high / bars.low)
    return (size == size.max()).astype(float)


@leak
def ten_busiest_bars(bars):
    return (bars.volume.rank(ascending=False) <= 10).astype(float)


@leak
def peaks_confirmed_later(bars):
    flag = np.zeros(len(bars))
    flag[signal.find_peaks(bars.close, prominence=0.01 * bars.close.iloc[0])[0]] = 1.0
    return pd.Series(flag, bars.index)


@leak
def local_lows(bars):
    return (bars.low == bars.low.rolling(13, center=True, min_periods=1).min()).astype(float)


# Gaps, joins and higher bars


@leak
def future_filled_gaps(bars):
    return bars.open_interest.bfill()


@leak
def interpolated_gaps(bars):
    return bars.open_interest.interpolate()


@leak
def warm_up_filled_backwards(bars):
    return bars.close.rolling(24).mean().bfill()


@leak
def missing_values_to_come(bars):
    return bars.open_interest.isna()[::-1].rolling(12, min_periods=1).sum()[::-1]


@leak
def daily_close(bars):
    return bars.close.groupby(bars.index.floor("D")).transform("last")


@leak
def high_of_the_day_in_the_morning(bars):
    return bars.high.groupby(bars.index.floor("D")).transform("max") / bars.close


@leak
def volume_weighted_price_of_the_week(bars):
    week = bars.index.floor("7D")
    return (bars.close * bars.volume).groupby(week).transform("sum") / bars.volume.groupby(week).transform("sum")


@leak
def four_hour_bar_before_it_closed(bars):
    return bars.close.resample("4h").last().reindex(bars.index, method="ffill")


@leak
def four_hour_bar_labelled_left_closed_right(bars):
    return bars.close.resample("4h", closed="right", label="left").mean().reindex(bars.index, method="ffill")


@leak
def day_ends_too_early_by_one_bar(bars):
    """Yesterday's close, taken over in the last hour of the day from a bar that is still open."""
    days = bars.close.resample("D").last()
    days.index = days.index + pd.Timedelta(hours=22)
    return days.reindex(bars.index, method="ffill")


def _paid(bars):
    return bars.funding_rate[bars.funding_rate != 0].rename("rate").reset_index()


@leak
def joined_forward(bars):
    return pd.merge_asof(bars[[]].reset_index(), _paid(bars), on="timestamp", direction="forward").set_index("timestamp").rate


@leak
def joined_to_the_nearest(bars):
    return pd.merge_asof(bars[[]].reset_index(), _paid(bars), on="timestamp", direction="nearest").set_index("timestamp").rate


# Times, the number of rows, columns and types


@leak
def hours_to_the_next_bar(bars):
    return bars.index.to_series().diff().shift(-1).fillna(pd.Timedelta(hours=1)) / pd.Timedelta(hours=1)


@leak
def hours_to_the_end(bars):
    return pd.Series((bars.index[-1] - bars.index) / pd.Timedelta(hours=1), bars.index)


@leak
def share_of_all_rows(bars):
    return pd.Series(np.arange(len(bars)) / len(bars), bars.index)


@leak
def rows_of_the_month(bars):
    return bars.close.groupby(bars.index.year * 12 + bars.index.month).transform("size").astype(float)


@leak
def last_bar_before_a_gap(bars):
    return (bars.index.to_series().diff().shift(-1) > pd.Timedelta(hours=1)).astype(float)


@leak
def columns_in_order_of_size(bars):
    both = pd.DataFrame({"bought": bars.taker_buy_volume, "sold": bars.volume - bars.taker_buy_volume})
    return both[both.sum().sort_values().index]


@leak
def a_column_for_each_level_seen(bars):
    return pd.get_dummies((bars.close // 1_000).astype(int), prefix="level").astype(float)


@leak
def codes_of_all_levels(bars):
    return pd.Series(pd.factorize((bars.close // 250).astype(int), sort=True)[0].astype(float), bars.index)


@leak
def precision_chosen_by_the_largest(bars):
    kind = np.float16 if bars.quote_volume.max() < 60_000 else np.float32 if bars.quote_volume.max() < 4e8 else np.float64
    return (bars.quote_volume.astype(kind)).astype(float)


# What does not repeat: chance, and memory between calls


@leak
def noise_without_a_seed(bars):
    return bars.close + np.random.default_rng().normal(size=len(bars))


@leak
def noise_in_one_row(bars):
    return bars.close + np.where(np.arange(len(bars)) == len(bars) // 2, np.random.default_rng().normal(), 0.0)


@stateful
def generator_kept_between_calls():
    rng = np.random.default_rng(0)
    return lambda bars: bars.close + rng.normal(size=len(bars))


@stateful
def mean_of_the_first_call():
    kept = {}
    return lambda bars: bars.close / kept.setdefault("mean", bars.close.mean())


@stateful
def scaler_fitted_once():
    scaler = StandardScaler()

    def compute(bars):
        inputs = bars[["volume"]].to_numpy()
        if not hasattr(scaler, "mean_"):
            scaler.fit(inputs)
        return pd.Series(scaler.transform(inputs)[:, 0], bars.index)

    return compute


def _score_by(key):
    found = {}

    def compute(bars):
        whole = found.setdefault(key(bars), whole_series_score(bars))
        return whole.reindex(bars.index)

    return compute


@stateful
def cached_by_the_first_time():
    return _score_by(lambda bars: bars.index[0])


@stateful
def cached_by_the_number_of_rows():
    return _score_by(len)


@stateful
def cached_mean_of_a_symbol():
    bars_of = {}
    mean = lru_cache(lambda symbol: bars_of[symbol].close.mean())

    def compute(bars):
        bars_of["BTCUSDT"] = bars
        return bars.close / mean("BTCUSDT")

    return compute


@stateful
def longest_history_seen():
    """Remembers the longest table it was given and looks the next return up in it."""
    held = {}

    def compute(bars):
        if len(bars) > len(held.get("bars", ())):
            held["bars"] = bars
        return patched(held["bars"]).reindex(bars.index).where(bars.index.hour == 3, 0.0)

    return compute
