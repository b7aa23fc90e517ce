"""Interactive figures in the house style, with the palette of `plots`: frames in, Plotly figures out. The one door of plotly.

Times are UTC, returns and drawdowns simple fractions shown as percent, money in quote currency. Long series are thinned to their extremes:
a figure stays small however long the result. The grounds are transparent and the greys lie in the middle: fit for light and dark pages.
"""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.backtest.house import BUTTONS, DIVERGING, GRID, HOUSE, MONTHS, RANGES, STEPS
from quantalpha.backtest.page import words
from quantalpha.plots import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY, thin
from quantalpha.schema import epoch_ms

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHOWN = 2000  # trades in a scatter: more are sampled


def library() -> str:
    """The source of plotly.js, for a page that works without a network."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def equity(path: pd.Series, fall: pd.Series, baselines: Mapping[str, pd.Series], liquidations: pd.DatetimeIndex) -> "Figure":
    """Equity at each bar's close with its baselines, a switch from linear to log, and below `fall` (`periods.underwater`)."""
    fig = _rows(0.7, 0.3)
    for colour, (name, other) in zip((ORANGE, GREEN, PURPLE, SKY, GREY), baselines.items()):
        fig.add_scatter(**_line(other, colour, name, width=1.2), row=1, col=1)
    fig.add_scatter(**_line(path, BLUE, "equity", width=2.0), row=1, col=1)
    if len(liquidations):
        marker = {"symbol": "x", "size": 9, "color": RED}
        fig.add_scatter(x=_time(liquidations), y=path[liquidations], mode="markers", marker=marker, name="liquidation", row=1, col=1)
    fill = {"fill": "tozeroy", "fillcolor": _faint(RED), "showlegend": False}
    fig.add_scatter(**_line(fall, RED, "drawdown", "%{y:.1%}", width=1.0), **fill, row=2, col=1)
    scale = _scale(path)
    buttons = [{"label": name, "method": "relayout", "args": [{"yaxis.type": name, "yaxis.dtick": STEPS[name]}]} for name in STEPS]
    switch = {"type": "buttons", "direction": "right", "buttons": buttons, "x": 1, "xanchor": "right"}
    switch |= {"showactive": False, "borderwidth": 0, "font": {"size": 11}, "pad": {"t": 0, "b": 0, "r": 0}}
    fig.update_xaxes(rangeselector=BUTTONS | {"buttons": RANGES, "x": 0, "activecolor": "rgba(128,128,128,0.4)"}, row=1, col=1)
    fig.update_yaxes(title_text="equity", type=scale, dtick=STEPS[scale], tickformat=",", row=1, col=1)
    fig.update_yaxes(title_text="drawdown", tickformat=".0%", row=2, col=1)
    return fig.update_layout(updatemenus=[BUTTONS | switch], hovermode="x unified", legend={"y": -0.1, "yanchor": "top"}, margin={"t": 60})


def monthly(table: pd.DataFrame) -> "Figure":
    """Heat map of `periods.monthly_returns`: years down, months across; on the right the whole year, its colours three times as wide."""
    fig = _columns(0.91, 0.09, shared=True)
    years, values = [str(year) for year in table.index], table.to_numpy(float)
    bound = max(float(np.nanpercentile(np.abs(values[:, :-1]), 95)), 1e-4)
    for column, (names, part, limit) in enumerate(((MONTHS, values[:, :-1], bound), (("Year",), values[:, -1:], 3 * bound)), start=1):
        fig.add_heatmap(**_cells(names, years, part, limit, "{:+.1%}", "%{y} %{x}: %{z:+.2%}<extra></extra>"), row=1, col=column)
    fig.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return fig.update_xaxes(side="top", showgrid=False).update_layout(margin={"t": 50})


def rolling(table: pd.DataFrame) -> "Figure":
    """Sharpe, volatility and share of the time in the market (columns of `periods.rolling`), one below the other."""
    fig = _rows(1, 1, 1)
    kinds = {"sharpe_ratio": ("Sharpe", BLUE, ".1f"), "volatility": ("volatility", ORANGE, ".0%"), "exposure": ("exposure", GREEN, ".0%")}
    for row, (column, (name, colour, pattern)) in enumerate(kinds.items(), start=1):
        fig.add_scatter(**_line(table[column].dropna(), colour, name, f"%{{y:{pattern}}}", width=1.6), row=row, col=1)
        fig.update_yaxes(title_text=name, tickformat=pattern, rangemode="normal" if row == 1 else "tozero", row=row, col=1)
    return fig.update_layout(hovermode="x unified", showlegend=False)


def trade_returns(trades: pd.DataFrame) -> "Figure":
    """How the trades' returns are spread, losses and gains told apart, their mean marked."""
    values = trades["return"].to_numpy(float)
    return histogram(values, {"mean": float(values.mean())}, "return on entry notional", ".1%").update_yaxes(title_text="trades")


def histogram(values: np.ndarray, marks: Mapping[str, float], title: str, pattern: str = ".2f", bins: int = 50) -> "Figure":
    """Counts of finite `values`, those outside the 0.5 % and 99.5 % quantiles in the outer bars; 0 is always an edge between bars.

    marks: names and places of vertical lines. pattern: of numbers on the axis.
    """
    low, high = np.quantile(values, [0.005, 0.995])
    step = (high - low or abs(high)) / bins or 1.0
    edges = step * np.arange(np.floor(low / step), np.ceil(high / step) + 1.0 + (low == high))
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    middle = (edges[:-1] + edges[1:]) / 2
    fig = _figure(xaxis={"title_text": title, "tickformat": pattern}, yaxis={"title_text": "count"}, showlegend=False, margin={"t": 44})
    marker = {"color": np.where(middle < 0.0, RED, BLUE), "opacity": 0.8, "line": {"width": 0}}
    fig.add_bar(x=middle, y=counts, width=step, marker=marker, hovertemplate=f"%{{x:{pattern}}}: %{{y:,}}<extra></extra>")
    for colour, (name, place) in zip((ORANGE, GREEN, PURPLE), marks.items()):
        label = {"text": f"{escape(name)} {format(place, pattern)}", "font": {"color": colour}, "yanchor": "bottom", "showarrow": False}
        fig.add_vline(x=place, line={"color": colour, "width": 2}, annotation=label | {"yref": "paper", "y": 1})
    return fig


def holding(trades: pd.DataFrame, spacing: pd.Timedelta) -> "Figure":
    """Return of each trade against how long it was held; time on a log axis, since most are short and a few are long."""
    fig = _figure(
        xaxis={"title_text": "held (days)", "type": "log", "dtick": "D2", "tickformat": "~g"},
        yaxis={"title_text": "return on entry notional", "tickformat": ".0%"},
    )
    shown = _sample(trades)
    for side, colour, symbol in (("long", BLUE, "triangle-up"), ("short", ORANGE, "triangle-down")):
        rows = shown[shown["side"] == side]
        days = rows["bars"] * (spacing / pd.Timedelta("1D"))
        hover = "%{text}<br>%{y:+.2%} in %{x:.3~f} days<extra></extra>"
        fig.add_scatter(**_dots(days, rows, side, hover, {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.6}))
    return fig


def excursions(trades: pd.DataFrame) -> "Figure":
    """Return of each trade against the worst and the best open profit it saw: what a stop or a take-profit would have met."""
    side, up = (
        {"title_text": "worst and best open profit", "tickformat": ".0%"},
        {"title_text": "return on entry notional", "tickformat": ".0%"},
    )
    fig, shown = _figure(xaxis=side, yaxis=up), _sample(trades)
    for column, name, colour in (("mae", "worst (MAE)", RED), ("mfe", "best (MFE)", GREEN)):
        hover = "%{text}<br>ended %{y:+.2%}, saw %{x:+.2%}<extra></extra>"
        fig.add_scatter(**_dots(shown[column], shown, name, hover, {"color": colour, "size": 6, "opacity": 0.55}))
    span, line = [float(shown["mae"].min()), float(shown["mfe"].max())], {"color": GREY, "width": 1, "dash": "dot"}
    return fig.add_scatter(x=span, y=span, mode="lines", line=line, name="ended at its worst or best", hoverinfo="skip")


def waterfall(effects: pd.Series) -> "Figure":
    """From the first of the signed effects (quote currency) through every further one to the last, the total."""
    fig = _figure(yaxis={"title_text": "quote currency", "tickformat": ","})
    colours = {"increasing": GREEN, "decreasing": RED, "totals": BLUE}
    return fig.add_waterfall(
        x=list(effects.index), y=effects.to_numpy(float), measure=["absolute", *["relative"] * (len(effects) - 2), "total"],
        text=[f"{value:+,.0f}" for value in effects], textposition="outside", cliponaxis=False, connector={"line": {"color": GRID}},
        hovertemplate="%{x}: %{text}<extra></extra>", **{name: {"marker": {"color": colour}} for name, colour in colours.items()},
    )  # fmt: skip


def paid_over_time(amounts: Mapping[str, pd.Series]) -> "Figure":
    """Cumulated signed money by kind, over the time it was booked."""
    up = {"title_text": "cumulated, quote currency", "tickformat": ","}
    fig = _figure(hovermode="x unified", xaxis={"type": "date"}, yaxis=up)
    for colour, (name, series) in zip((RED, PURPLE, GREEN), amounts.items()):
        fig.add_scatter(**_line(series.cumsum(), colour, name, "%{y:+,.2f}", width=1.6, shape="hv"))
    return fig


def frontier(table: pd.DataFrame, bound: float) -> "Figure":
    """Net Sharpe at one delay (rows of `cost_frontier`): fees across, slippage up, both as multiples of the assumed ones.

    bound: the Sharpe of the strongest colour.
    """
    square = table.pivot(index="slippage_factor", columns="fee_factor", values="sharpe_ratio").sort_index()
    across, up = ([f"{factor:g}x" for factor in axis] for axis in (square.columns, square.index))
    axis = {"type": "category", "showgrid": False}
    fig = _figure(xaxis=axis | {"title_text": "fees"}, yaxis=axis | {"title_text": "slippage"})
    hover = "fees %{x}, slippage %{y}: Sharpe %{z:.2f}<extra></extra>"
    return fig.add_heatmap(**_cells(across, up, square.to_numpy(float), bound, "{:.2f}", hover))


def capacity(curve: pd.DataFrame) -> "Figure":
    """Net Sharpe, and slippage in basis points of what was traded, against the size of the account (`frontier.capacity`)."""
    fig = _figure(
        hovermode="x unified",
        xaxis={"title_text": "initial cash", "type": "log", "dtick": "D2", "tickformat": "~s"},
        yaxis={"title_text": "net Sharpe"},
    )
    second = {
        "title_text": "slippage (bp)",
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
        "rangemode": "tozero",
        "tickmode": "auto",
    }
    kinds = (("sharpe_ratio", "net Sharpe", "y", BLUE, "solid"), ("slippage_basis_points", "slippage (bp)", "y2", RED, "dot"))
    for column, name, axis, colour, dash in kinds:
        line = {"color": colour, "width": 2, "dash": dash}
        fig.add_scatter(x=curve["size"], y=curve[column], name=name, yaxis=axis, line=line, mode="lines+markers", hovertemplate="%{y:.2f}")
    return fig.update_layout(yaxis2=second)


def fan(bands: pd.DataFrame) -> "Figure":
    """Bands of resampled equity (`MonteCarlo.bands`; index times or trade numbers) and the path that happened."""
    dated = isinstance(bands.index, pd.DatetimeIndex)
    x = _time(bands.index) if dated else bands.index.to_numpy(float)
    scale = _scale(bands["p95"], bands["p5"], bands["observed"])
    up = {"title_text": "equity", "tickformat": ",", "type": scale, "dtick": STEPS[scale]}
    fig = _figure(hovermode="x unified", yaxis=up, xaxis={"type": "date"} if dated else {"title_text": "trade"})

    def draw(column: str, name: str, colour: str, width: float, **style) -> None:
        fig.add_scatter(
            x=x, y=bands[column], name=name, mode="lines", line={"color": colour, "width": width}, hovertemplate="%{y:,.0f}", **style
        )

    for low, high, name in (("p5", "p95", "5 % to 95 %"), ("p25", "p75", "25 % to 75 %")):
        draw(low, low, SKY, 0.0, showlegend=False)
        draw(high, name, SKY, 0.0, fill="tonexty", fillcolor=_faint(SKY))
    draw("p50", "median", SKY, 1.5)
    draw("observed", "observed", BLUE, 2.0)
    return fig


def intervals(figures: pd.DataFrame) -> "Figure":
    """A box of the 5, 25, 50, 75 and 95 % of each resampled metric (rows of `MonteCarlo.figures`), the observed value a diamond."""
    fig = _columns(*[1] * len(figures), shared=False)
    for column, (name, row) in enumerate(figures.iterrows(), start=1):
        label = [words(name)]
        box = {"q1": [row["p25"]], "median": [row["p50"]], "q3": [row["p75"]], "lowerfence": [row["p5"]], "upperfence": [row["p95"]]}
        fig.add_box(**box, x=label, line={"color": BLUE}, fillcolor=_faint(SKY), name=label[0], row=1, col=column)
        marker = {"symbol": "diamond", "size": 10, "color": ORANGE}
        fig.add_scatter(x=label, y=[row["observed"]], mode="markers", marker=marker, name="observed", row=1, col=column)
        fig.update_yaxes(tickformat=".1f" if name == "sharpe_ratio" else ".0%", row=1, col=column)
    return fig.update_layout(showlegend=False)


def _figure(**layout) -> "Figure":
    from plotly import graph_objects

    return graph_objects.Figure(layout={"template": {"layout": HOUSE}, **layout})


def _rows(*heights: float) -> "Figure":
    """Panels one below the other on one time axis."""
    from plotly.subplots import make_subplots

    fig = make_subplots(len(heights), row_heights=list(heights), shared_xaxes=True, vertical_spacing=0.045, figure=_figure())
    return fig.update_xaxes(type="date")


def _columns(*widths: float, shared: bool) -> "Figure":
    """Panels side by side; `shared`: with one value axis."""
    from plotly.subplots import make_subplots

    gap = 0.015 if shared else 0.08
    return make_subplots(1, len(widths), column_widths=list(widths), shared_yaxes=shared, horizontal_spacing=gap, figure=_figure())


def _line(series: pd.Series, colour: str, name: str, hover: str = "%{y:,.2f}", *, width: float, shape: str = "linear") -> dict:
    few, line = thin(series), {"color": colour, "width": width, "shape": shape}
    return {"x": _time(few.index), "y": few.to_numpy(), "mode": "lines", "name": escape(name), "line": line, "hovertemplate": hover}


def _dots(x: pd.Series, trades: pd.DataFrame, name: str, hover: str, marker: dict) -> dict:
    """Trades as points: `x` across, their return up."""
    symbol = trades["symbol"].map(escape) + " " if "symbol" in trades else ""
    told = symbol + trades["side"] + " from " + trades["entry_time"].dt.strftime("%Y-%m-%d %H:%M") + ", " + trades["exit_reason"]
    place = {"x": x.to_numpy(float), "y": trades["return"].to_numpy(float), "text": list(told)}
    return place | {"name": name, "mode": "markers", "marker": marker, "hovertemplate": hover}


def _cells(x, y, values: np.ndarray, bound: float, pattern: str, hover: str) -> dict:
    """A heat map with its numbers in it, pale in the middle."""
    text = [["" if np.isnan(value) else pattern.format(value) for value in row] for row in values]
    numbers = {"text": text, "texttemplate": "%{text}", "textfont": {"color": INK}, "hovertemplate": hover}
    return {"x": list(x), "y": list(y), "z": values, "zmin": -bound, "zmax": bound, "colorscale": DIVERGING, **numbers} | {
        "showscale": False, "xgap": 2, "ygap": 2,
    }  # fmt: skip


def _scale(*lines: pd.Series) -> str:
    """Equal distances for equal ratios once the first line spans more than a factor of 4, if no line touches 0."""
    wide = lines[0].max() > 4.0 * lines[0].min()
    return "log" if wide and min(line.min() for line in lines) > 0.0 else "linear"


def _time(index: pd.DatetimeIndex) -> np.ndarray:
    """Milliseconds, which plotly.js takes for UTC on a date axis and which pack well."""
    return epoch_ms(index).astype(float)


def _sample(trades: pd.DataFrame) -> pd.DataFrame:
    """At most SHOWN trades: the largest gains and losses, and an even sample of the others."""
    if len(trades) <= SHOWN:
        return trades
    order, largest = np.argsort(-trades["return"].abs().to_numpy(), kind="stable"), SHOWN // 10
    even = np.linspace(largest, len(order) - 1, SHOWN - largest).astype(int)
    return trades.iloc[np.sort(np.r_[order[:largest], order[even]])]


def _faint(colour: str) -> str:
    """A colour one can see through."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.22)"
