"""A self-contained HTML page: tables, cards and drawn figures, with everything it needs inside it.

Text given to these functions is escaped here; what they return is HTML. Light or dark follows the reader's system, print is light.
"""

import base64
import gzip
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import pandas as pd

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--panel:#f8fafc;--ink:#111827;--soft:#4b5563;--faint:#6b7280;--line:#e5e7eb;
--good:#007a5a;--bad:#b54a00;--warn:#8a6100;--link:#0072b2}
@media screen and (prefers-color-scheme:dark){:root{--paper:#0f141b;--panel:#171e27;--ink:#eef2f6;--soft:#c3ccd6;--faint:#93a0ae;
--line:#2a3440;--good:#3ecf9f;--bad:#ff8f4d;--warn:#f0b949;--link:#56b4e9}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:3.2rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:1180px;margin:0 auto;padding:0 24px}
header{padding-top:28px}
h1{font-size:1.65rem;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.12rem;margin:0 0 4px}
h3{font-size:.92rem;margin:18px 0 4px;color:var(--soft);font-weight:600}
p{margin:0 0 8px}
.note,figcaption,header p{color:var(--soft);font-size:.87rem;max-width:104ch;overflow-wrap:anywhere}
nav{position:sticky;top:0;z-index:9;background:var(--paper);border-bottom:1px solid var(--line);margin-top:14px}
nav div{max-width:1180px;margin:0 auto;padding:8px 24px;display:flex;gap:18px;overflow-x:auto;white-space:nowrap;font-size:.87rem}
nav a{color:var(--soft);text-decoration:none}
nav a:hover{color:var(--link)}
section{padding:26px 0 8px;border-bottom:1px solid var(--line)}
section:last-of-type{border-bottom:0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:10px;margin:12px 0 14px}
.card{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:10px 13px;min-width:0}
.card b{display:block;font-size:1.3rem;line-height:1.3;font-weight:650;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.card span{color:var(--soft);font-size:.8rem}
.card small{display:block;color:var(--faint);font-size:.75rem}
.good{color:var(--good)}.bad{color:var(--bad)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:8px 26px;align-items:start}
.three{grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr))}
.grid>*{min-width:0}
figure{margin:6px 0 14px;min-width:0}
.plot{overflow-x:auto;overflow-y:hidden}
.scroll{overflow-x:auto;margin:8px 0 14px}
table{border-collapse:collapse;font-size:.84rem;font-variant-numeric:tabular-nums;min-width:min(100%,520px)}
th,td{padding:4px 14px 4px 0;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:last-child,td:last-child{padding-right:2px}
thead th{color:var(--soft);font-weight:600;border-bottom-color:var(--faint);vertical-align:bottom}
tbody th{font-weight:500}
th:first-child,td:first-child{text-align:left}
table.facts{width:100%}
table.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}
table.facts th{text-align:left;color:var(--soft);vertical-align:top;width:1%}
ul.findings{list-style:none;margin:10px 0;padding:0}
ul.findings li{border-left:4px solid var(--warn);background:var(--panel);border-radius:0 8px 8px 0;padding:8px 14px;margin:0 0 8px}
ul.findings li.severe{border-left-color:var(--bad)}
ul.findings b{color:var(--warn);font-size:.78rem;letter-spacing:.04em;text-transform:uppercase;margin-right:8px}
ul.findings .severe b{color:var(--bad)}
ul.findings small{color:var(--faint)}
details{margin:8px 0 14px}
summary{cursor:pointer;color:var(--link);font-size:.87rem}
.columns{columns:3 300px;column-gap:34px;margin-top:10px}
.columns div{display:flex;justify-content:space-between;gap:12px;break-inside:avoid;font-size:.84rem;padding:3px 0;
border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}
.columns span{color:var(--soft)}
footer{padding-top:14px;padding-bottom:36px;color:var(--faint);font-size:.8rem}
.failed{color:var(--bad);font-size:.87rem}
@media(max-width:640px){main,header,footer,nav div{padding-left:14px;padding-right:14px}h1{font-size:1.35rem}
.cards{grid-template-columns:repeat(2,1fr)}.card b{font-size:1.12rem}}
@media print{nav,.modebar,.updatemenu-container,.rangeselector{display:none}main,header,footer{padding-left:0;padding-right:0}
body{font-size:12px}section{border:0}figure,.card,.scroll,li,tr{break-inside:avoid}h2,h3{break-after:avoid}
.scroll,.plot{overflow:visible}.plot>*{min-width:0!important}.grid{grid-template-columns:1fr 1fr}
.cards{grid-template-columns:repeat(6,1fr)}.card b{font-size:.95rem}.card{padding:6px 8px}
table{font-size:10px;min-width:0}th,td{padding-right:8px}thead th{white-space:normal}@page{margin:14mm}}
"""

WORDS = {  # where the plain name is not what a reader expects
    "cagr": "CAGR", "sharpe_ratio": "Sharpe", "sortino_ratio": "Sortino", "calmar_ratio": "Calmar", "omega_ratio": "Omega",
    "n_trades": "trades", "expectancy_return": "mean trade", "mean_holding_bars": "bars held", "pnl": "profit",
    "longest_drawdown_days": "longest drawdown (days)", "max_drawdown_days": "max drawdown (days)",
    "max_drawdown_bars": "max drawdown (bars)",
}  # fmt: skip

# The drawing library lies gzipped in the page, a third of its size. A page that cannot draw says so in place of each figure.
SCRIPT = """
(async () => {
  const holders = [...document.querySelectorAll("[data-figure]")];
  const text = id => document.getElementById(id).textContent;
  const theme = () => {
    const css = getComputedStyle(document.documentElement), read = name => css.getPropertyValue(name).trim();
    return {"font.color": read("--soft"), "hoverlabel.bgcolor": read("--panel"), "hoverlabel.bordercolor": read("--line"),
            "hoverlabel.font.color": read("--ink")};
  };
  const dress = change => Promise.all(holders.map(holder => Plotly.relayout(holder, {...change(holder), ...theme()})));
  try {
    const packed = Uint8Array.from(atob(text("plotly")), letter => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const library = document.createElement("script");
    library.textContent = await new Response(stream).text();
    document.head.append(library);
    const figures = JSON.parse(text("figures")), touch = matchMedia("(pointer: coarse)").matches;
    const options = {responsive: true, displaylogo: false, showSendToCloud: false, displayModeBar: touch ? false : "hover",
                     modeBarButtonsToRemove: ["lasso2d", "select2d"]};
    for (const holder of holders) {
      const {data, layout} = figures[holder.dataset.figure];
      if (touch) layout.dragmode = false;
      await Plotly.newPlot(holder, data, layout, options);
      await Plotly.relayout(holder, theme());
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dress(() => ({})));
    addEventListener("beforeprint", () => dress(holder => ({width: holder.closest(".grid") ? 325 : 670})));
    addEventListener("afterprint", () => dress(() => ({width: null, autosize: true})));
    document.documentElement.dataset.drawn = holders.length;
  } catch (error) {
    console.error(error);
    for (const holder of holders) if (!holder.hasChildNodes())
      holder.innerHTML = '<p class="failed">Not drawn: figures need a browser of 2023 or later that allows scripts.</p>';
  }
})();
"""


def page(title: str, head: str, sections: Sequence[tuple[str, str]], foot: str, figures: Mapping[str, str], library: str) -> str:
    """The whole document.

    head, foot: HTML. sections: (name for the navigation, HTML of `section`). figures: name -> Plotly JSON, each drawn where `figure` put
    it. library: the source of plotly.js.
    """
    packed = base64.b64encode(gzip.compress(library.encode(), compresslevel=6, mtime=0)).decode()
    drawn = "{" + ",".join(f"{json.dumps(name)}:{figure}" for name, figure in figures.items()) + "}"
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name, _ in sections)
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<header><h1>{escape(title)}</h1>{head}</header>\n<nav><div>{links}</div></nav>\n<main>",
            *(content for _, content in sections),
            f"</main>\n<footer>{foot}</footer>",
            f'<script type="application/json" id="figures">{drawn.replace("<", chr(92) + "u003c")}</script>',
            f'<script type="text/plain" id="plotly">{packed}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n',
        )
    )


def section(name: str, *content: str, note: str = "") -> tuple[str, str]:
    """What `page` takes; empty content is left out."""
    return name, f'<section id="{_anchor(name)}"><h2>{escape(name)}</h2>{paragraph(note)}{"".join(content)}</section>'


def figure(name: str, height: int, caption: str = "", heading: str = "", least: int = 0) -> str:
    """The place where the figure `name` is drawn, `height` pixels high; one that needs a `least` width scrolls sideways on a phone."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    place = f'<div data-figure="{escape(name)}" style="height:{height}px;min-width:{least}px"></div>'
    return f'{subheading(heading)}<figure><div class="plot">{place}</div>{below}</figure>'


def grid(*content: str, three: bool = False) -> str:
    """Side by side where there is room, one below the other on a phone."""
    return f'<div class="grid{" three" if three else ""}">{"".join(f"<div>{each}</div>" for each in content)}</div>'


def subheading(text: str) -> str:
    """A heading within a section; nothing for no text."""
    return f"<h3>{escape(text)}</h3>" if text else ""


def paragraph(text: str) -> str:
    """A note; nothing for no text."""
    return f'<p class="note">{escape(text)}</p>' if text else ""


def cards(items: Iterable[tuple[str, str, str, str]]) -> str:
    """(label, value, small print, "good", "bad" or "") each."""
    return f'<div class="cards">{"".join(_card(*item) for item in items)}</div>'


def table(frame: pd.DataFrame, formats: Mapping[str, str], heading: str = "") -> str:
    """Index and columns as text; `formats`: column -> format string such as "{:+.1%}"; NaN and NaT are an en dash."""
    names = "".join(f"<th>{escape(words(name))}</th>" for name in (frame.index.name or "", *frame.columns))
    patterns = [formats.get(name, "{}") for name in frame.columns]
    lines = []
    for key, values in zip(frame.index, frame.itertuples(index=False)):
        cells = "".join(f"<td>{_cell(value, pattern)}</td>" for value, pattern in zip(values, patterns))
        lines.append(f"<tr><th>{escape(str(key))}</th>{cells}</tr>")
    body = f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'{subheading(heading)}<div class="scroll">{body}</div>'


def facts(items: Mapping[str, object], heading: str = "") -> str:
    """Names and what they are, one a line."""
    rows = "".join(f"<tr><th>{escape(words(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in items.items())
    return f'{subheading(heading)}<div class="scroll"><table class="facts"><tbody>{rows}</tbody></table></div>'


def findings(items: Iterable[tuple[str, str, str]]) -> str:
    """(severity, code, message) each, in the order given."""
    lines = (
        f'<li class="{escape(severity)}"><b>{escape(severity)}</b>{escape(message)} <small>{escape(code)}</small></li>'
        for severity, code, message in items
    )
    return f'<ul class="findings">{"".join(lines)}</ul>'


def folded(summary: str, items: Mapping[str, str]) -> str:
    """Names and values behind a line to open."""
    lines = "".join(f"<div><span>{escape(words(name))}</span><b>{escape(value)}</b></div>" for name, value in items.items())
    return f'<details><summary>{escape(summary)}</summary><div class="columns">{lines}</div></details>'


def words(name: object) -> str:
    """max_drawdown -> max drawdown."""
    return WORDS.get(name, str(name).replace("_", " "))


def formatted(value: float, pattern: str) -> str:
    """A number as text, an en dash where it is undefined."""
    return pattern.format(value) if math.isfinite(value) else "–"


def _card(label: str, value: str, small: str, tone: str) -> str:
    return f'<div class="card"><span>{escape(label)}</span><b class="{tone}">{escape(value)}</b><small>{escape(small)}</small></div>'


def _cell(value: object, pattern: str) -> str:
    return "–" if pd.isna(value) else escape(pattern.format(value))


def _anchor(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
