"""The house style of interactive figures: transparent grounds and middle greys, fit for light and dark pages."""

from quantalpha.plots import BLUE, CYCLE, GREY

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
CLEAR, GRID, ZERO = "rgba(0,0,0,0)", "rgba(128,128,128,0.22)", "rgba(128,128,128,0.55)"
AXIS = {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": ZERO, "zerolinewidth": 1, "ticks": "", "automargin": True}
HOUSE = {
    "font": {"family": FONT, "size": 12, "color": GREY}, "hoverlabel": {"font": {"family": FONT}}, "dragmode": "zoom", "bargap": 0.06,
    "paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR, "colorway": list(CYCLE), "margin": {"l": 8, "r": 12, "t": 28, "b": 8},
    "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "bgcolor": CLEAR},
    "xaxis": AXIS | {"title": {"standoff": 6}}, "yaxis": AXIS | {"title": {"standoff": 12}},
    "modebar": {"bgcolor": CLEAR, "color": ZERO, "activecolor": BLUE},
}  # fmt: skip
BUTTONS = {"bgcolor": "rgba(128,128,128,0.14)", "y": 1.01, "yanchor": "bottom"}
DIVERGING = [[0.0, "#E58A4E"], [0.5, "#F3F4F6"], [1.0, "#5BA8DA"]]  # loss, nothing, gain: pale enough for dark digits
RANGES = [
    {"count": 1, "label": "1m", "step": "month", "stepmode": "backward"},
    {"count": 6, "label": "6m", "step": "month", "stepmode": "backward"},
    {"count": 1, "label": "1y", "step": "year", "stepmode": "backward"},
    {"label": "all", "step": "all"},
]  # fmt: skip
STEPS = {"linear": None, "log": "D2"}  # labels at 1, 2 and 5 times the powers of ten
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
