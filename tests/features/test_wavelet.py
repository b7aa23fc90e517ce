"""Wavelet denoising: its filters by hand, its thresholds against Donoho and Johnstone's signals, and no look ahead."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pywt

from quantalpha.errors import DataError, UsageError
from quantalpha.features import build
from quantalpha.features.wavelet import _threshold, choose_wavelet, denoise, denoise_lookback, detail_weights, fit_wavelet
from quantalpha.validation import check_causal
from quantalpha.windows import weighted_sum

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "shrinkage.json").read_text())
ROWS = np.arange(1, 2_049) / 2_048


def signals() -> dict[str, np.ndarray]:
    """Donoho and Johnstone's four, by their formulas."""
    after = ROWS[:, None] - np.array(GOLDEN["jumps"])
    return {
        "blocks": (np.array(GOLDEN["heights"]) * (1 + np.sign(after)) / 2).sum(axis=1),
        "bumps": (np.array(GOLDEN["bumps"]) / (1 + np.abs(after / np.array(GOLDEN["widths"]))) ** 4).sum(axis=1),
        "heavisine": 4 * np.sin(4 * np.pi * ROWS) - np.sign(ROWS - 0.3) - np.sign(0.72 - ROWS),
        "doppler": np.sqrt(ROWS * (1 - ROWS)) * np.sin(2 * np.pi * 1.05 / (ROWS + 0.05)),
    }


def noisy_walk(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.cumsum(0.3 * rng.standard_t(4, rows)) + rng.normal(size=rows)


def plain_threshold(coefficients, scale):
    """SURE as a sum over all coefficients for every candidate; nothing is sorted, nothing is carried on."""
    sizes = np.abs(coefficients) / scale
    universal = np.sqrt(2 * np.log(len(sizes)))
    if np.mean(sizes**2) - 1 <= np.log2(len(sizes)) ** 1.5 / np.sqrt(len(sizes)):
        return universal * scale
    tried = np.concatenate(([0.0], sizes[sizes <= universal]))
    risks = [(1 - 2 * ((sizes <= t) & (t > 0)) + np.minimum(sizes, t) ** 2).sum() for t in tried]
    return tried[int(np.argmin(risks))] * scale


def plain_denoise(x, wavelet, levels, window):
    """The transform level by level on x itself, the thresholds row by row."""
    taps = np.array(pywt.Wavelet(wavelet).rec_lo) / np.sqrt(2)
    smooth, noise, scale = x.copy(), np.zeros(len(x)), None
    filtered, response = np.fft.fft(taps, 4_096), np.ones(4_096, dtype=complex)
    for level in range(levels):
        coarse = sum(tap * np.concatenate((np.full(k * 2**level, np.nan), smooth[: len(x) - k * 2**level])) for k, tap in enumerate(taps))
        next_response = response * filtered[np.arange(4_096) * 2**level % 4_096]
        gain = np.sqrt(np.mean(np.abs(response - next_response) ** 2))  # Parseval: the size of the filter of x
        details, smooth, response = smooth - coarse, coarse, next_response
        windows = np.lib.stride_tricks.sliding_window_view(details, window)
        if scale is None:
            scale = np.median(np.abs(windows), axis=1) / 0.6744897501960817 / gain
        limit = np.array([np.nan if np.isnan(w).any() else plain_threshold(w, s * gain) for w, s in zip(windows, scale)])
        noise[window - 1 :] += np.clip(details[window - 1 :], -limit, limit)
        noise[: window - 1] = np.nan
    return x - noise


def test_haar_by_hand():
    first, second = detail_weights("haar", 2)
    np.testing.assert_allclose(first, [1 / 2], rtol=1e-15)  # x - (x + x') / 2
    np.testing.assert_allclose(second, [1 / 4, 1 / 2, 1 / 4], rtol=1e-15)  # (x + x') / 2 - (x + x' + x'' + x''') / 4


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym4", "coif1"])
def test_details_and_the_smooth_rest_add_up(wavelet):
    x, levels = noisy_walk(600), 3
    taps = np.array(pywt.Wavelet(wavelet).rec_lo) / np.sqrt(2)
    smooth = np.ones(1)
    for level in range(levels):
        smooth = np.convolve(smooth, np.insert(taps, np.repeat(np.arange(1, len(taps)), 2**level - 1), 0.0))
    details = sum(weighted_sum(np.diff(x, prepend=np.nan), weights) for weights in detail_weights(wavelet, levels))
    np.testing.assert_allclose((details + weighted_sum(x, smooth))[100:], x[100:], rtol=1e-9)
    assert [len(weights) for weights in detail_weights(wavelet, levels)] == [(2**j - 1) * (len(taps) - 1) for j in (1, 2, 3)]


def test_daubechies_filters_lean_on_the_latest_rows():
    for wavelet in ("db2", "db4", "db6"):
        taps = np.array(pywt.Wavelet(wavelet).rec_lo) ** 2
        assert taps[: len(taps) // 2].sum() > 0.9


@pytest.mark.parametrize(("wavelet", "levels", "window"), [("haar", 1, 8), ("haar", 3, 33), ("db4", 3, 64), ("sym4", 2, 50)])
def test_denoise_is_the_plain_transform(wavelet, levels, window):
    x = noisy_walk(500)
    found = denoise(x, wavelet, levels, window)
    assert np.flatnonzero(~np.isnan(found))[0] == denoise_lookback(wavelet, levels, window) - 1
    np.testing.assert_allclose(found, plain_denoise(x, wavelet, levels, window), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rows", [8, 9, 64, 127, 1_000])
@pytest.mark.parametrize("dense", [0.0, 0.05, 0.5, 1.0])
def test_the_threshold_is_the_plain_one(rows, dense):
    rng = np.random.default_rng(rows)
    for _ in range(20):
        values = rng.normal(size=rows) + (rng.random(rows) < dense) * rng.normal(0, 6, rows)
        scale = rng.lognormal()
        assert _threshold(np.sort(np.abs(values * scale)), scale, ((values * scale) ** 2).sum()) == pytest.approx(
            plain_threshold(values * scale, scale), rel=1e-12
        )


@pytest.mark.parametrize("case", GOLDEN["risks"], ids=lambda case: case["signal"])
def test_sure_risk_is_near_the_oracles(case):
    rng, total = np.random.default_rng(1995), 0.0
    for name, signal in signals().items():
        clean = pywt.wavedec(7 * signal / signal.std(), "sym8", "periodization", level=6)
        for _ in range(10):
            noise = pywt.wavedec(rng.normal(size=len(signal)), "sym8", "periodization", level=6)
            for truth, error in zip(clean[1:], noise[1:]) if name == case["signal"] else ():
                found = truth + error
                limit = _threshold(np.sort(np.abs(found)), 1.0, (found**2).sum())
                total += ((found - np.clip(found, -limit, limit) - truth) ** 2).sum()
    assert total / 10 / 2_048 == pytest.approx(case["sure"], rel=1e-9)
    assert case["oracle"] <= case["sure"] <= 1.5 * case["oracle"] and case["sure"] < 0.7 * case["universal"]


@pytest.mark.parametrize("signal", ["blocks", "heavisine"])
def test_denoising_backwards_takes_most_of_the_noise(signal):
    truth = 7 * signals()[signal] / signals()[signal].std()
    noise = np.random.default_rng(3).normal(size=len(truth))
    left = denoise(truth + noise, "haar", 4, 128) - truth
    assert np.sqrt(np.nanmean(left**2)) < 0.6


def test_slow_waves_are_kept_and_the_finest_level_tells_the_noise():
    """A scale of each level's own would take this wave for noise on level 4 and lose three times the noise."""
    rng, rows = np.random.default_rng(0), np.arange(4_000)
    wave = 3 * np.sin(2 * np.pi * rows / 100)
    left = denoise(wave + 0.3 * rng.normal(size=len(rows)), "haar", 4, 128) - wave
    assert np.sqrt(np.nanmean(left**2)) < 0.3


@pytest.mark.parametrize(("wavelet", "levels", "window"), [("haar", 4, 32), ("db4", 4, 128)])
def test_a_row_is_its_own_window_and_nothing_else(wavelet, levels, window):
    x, lookback = noisy_walk(3_000), denoise_lookback(wavelet, levels, window)
    whole = denoise(x, wavelet, levels, window)
    for end in range(lookback, len(x), 97):
        scrambled = np.concatenate((np.random.default_rng(end).normal(1e6, 1e6, end - lookback), x[end - lookback : end], 1e9 * x[end:]))
        assert denoise(x[end - lookback : end], wavelet, levels, window)[-1] == whole[end - 1]
        assert denoise(scrambled, wavelet, levels, window)[end - 1] == whole[end - 1]


def test_the_proof_finds_whole_series_denoising_and_clears_ours(bars):
    def whole_series(frame):
        price = np.log(frame["close"].to_numpy())
        smooth, details = pywt.dwt(price, "db2", "periodization")
        limit = np.median(np.abs(details)) / 0.6745 * np.sqrt(2 * np.log(len(price)))
        shrunk = pywt.idwt(smooth, details - np.clip(details, -limit, limit), "db2", "periodization")
        return pd.DataFrame({"distance": price - shrunk[: len(price)]}, frame.index)

    assert not check_causal(whole_series, bars[["close"]], cuts=2).clean
    assert check_causal(build({"wavelet_denoise": [("db4", 3, 64)]}).compute, bars[["close"]], cuts=2).clean


def test_the_feature_is_the_log_close_against_its_denoised_self(bars):
    price = np.log(bars["close"].to_numpy())
    found = build({"wavelet_denoise": [("db4", 3, 64)]}).compute(bars)
    smooth = denoise(price, "db4", 3, 64)
    assert list(found) == ["wavelet_denoise_db4_3_64_distance", "wavelet_denoise_db4_3_64_change"]
    np.testing.assert_allclose(found.iloc[114:, 0], (price - smooth)[114:], atol=1e-11)
    np.testing.assert_allclose(found.iloc[114:, 1], np.diff(smooth)[113:], atol=1e-11)
    assert build({"wavelet_denoise": [("db4", 4, 128)]}).lookback == 234


def test_a_still_market_has_no_noise():
    np.testing.assert_array_equal(denoise(np.full(100, 7.0), "db2", 2, 16)[30:], 7.0)
    mostly_still = np.repeat(np.arange(20.0), 10)
    np.testing.assert_array_equal(denoise(mostly_still, "haar", 1, 16)[30:], mostly_still[30:])


def test_the_choice_is_the_nearest_to_the_next_row():
    tried = ("haar", "db4", "sym4")
    quick = np.sin(2 * np.pi * np.arange(3_000) / 8) + 0.3 * np.random.default_rng(0).normal(size=3_000)
    for x in (noisy_walk(3_000), quick):
        errors = {name: np.abs(x[1:] - denoise(x, name, 4, 64)[:-1])[denoise_lookback("sym4", 4, 64) :].mean() for name in tried}
        found = choose_wavelet(x, tried, levels=4, window=64)
        assert found == min(errors, key=errors.get) == choose_wavelet(x, tried[::-1], levels=4, window=64)
    assert found != "haar"


def test_fit_wavelet_gives_the_features_arguments(bars):
    found = fit_wavelet(bars)
    assert found[1:] == (4, 128) and fit_wavelet(bars, 2, 32)[1:] == (2, 32)
    assert build({"wavelet_denoise": [found]}).names[0].startswith("wavelet_denoise_")


def test_wrong_arguments():
    for wavelet in ("db99", "bior2.2", "morl", None):
        with pytest.raises(UsageError, match="expected an orthogonal wavelet"):
            detail_weights(wavelet, 2)
    with pytest.raises(UsageError, match="1 to 12 levels"):
        detail_weights("haar", 13)
    with pytest.raises(UsageError, match="window of at least 8"):
        denoise(np.zeros(100), "haar", 1, 7)
    with pytest.raises(UsageError, match="at least one candidate"):
        choose_wavelet(np.zeros(500), ())
    with pytest.raises(DataError, match="expected at least 294 rows, all of them numbers, found 100"):
        choose_wavelet(np.zeros(100))
