"""The tearsheet in a real browser: every figure drawn, nothing complained of, nothing wider than a phone."""

import re

import pytest
from sample_result import sample_result

from quantalpha.backtest.critic import critique
from quantalpha.backtest.monte_carlo import bootstrap_bars
from quantalpha.backtest.tearsheet import tearsheet

EVIL = "<img src=x onerror=\"document.documentElement.dataset.owned='yes'\">"
# Asks the framed page, once it has drawn, how wide it is.
WRAPPER = """<!doctype html><body style="margin:0">{frame}<script>
const frame = document.querySelector("iframe"), say = document.documentElement.dataset;
const look = () => {{
  const page = frame.contentDocument.documentElement;
  if (!page.dataset.drawn) return setTimeout(look, 50);
  [say.drawn, say.wide] = [page.dataset.drawn, page.scrollWidth];
}};
look();
</script></body>"""


@pytest.fixture(scope="module")
def sheet():
    result = sample_result(3000)
    extras = {"findings": critique(result), "monte_carlo": bootstrap_bars(result, paths=50)}
    return tearsheet(result, title=f"A sheet {EVIL}", subtitle=EVIL, baselines={EVIL: result.equity}, data={EVIL: EVIL}, **extras)


def test_every_figure_is_drawn_and_nothing_is_complained_of(sheet, browse, tmp_path):
    sheet.write(tmp_path / "sheet.html")
    page, console = browse(tmp_path / "sheet.html", "--dump-dom")
    assert console == []
    assert f'data-drawn="{len(sheet.figures)}"' in page and "data-owned" not in page
    for name in sheet.figures:
        place = page.split(f'data-figure="{name}"', 1)[1].split("data-figure=", 1)[0]
        assert "main-svg" in place and re.search(r'class="(trace|point|box|cartesianlayer|hm|bars)', place), name


def test_dark_is_dark_and_light_is_light(sheet, browse, tmp_path):
    sheet.write(tmp_path / "sheet.html")
    for scheme, ink in (("0", "#c3ccd6"), ("1", "#4b5563")):  # blink: 0 is dark
        page, _ = browse(tmp_path / "sheet.html", "--dump-dom", f"--blink-settings=preferredColorScheme={scheme}")
        axis = re.search(r'class="xtick"><text[^>]*fill: rgb\((\d+), (\d+), (\d+)\)', page)
        assert "#" + "".join(f"{int(value):02x}" for value in axis.groups()) == ink


def test_a_notebook_s_frame_draws_and_fits_a_phone(sheet, browse, tmp_path):
    frame = sheet._repr_html_().replace("width:100%", "width:390px")
    (tmp_path / "notebook.html").write_text(WRAPPER.format(frame=frame))
    page, console = browse(tmp_path / "notebook.html", "--dump-dom")
    assert console == []
    assert f'data-drawn="{len(sheet.figures)}"' in page.split(">", 2)[1]
    assert int(re.search(r'data-wide="(\d+)"', page).group(1)) <= 390


def test_it_prints(sheet, browse, tmp_path):
    sheet.write(tmp_path / "sheet.html")
    _, console = browse(tmp_path / "sheet.html", f"--print-to-pdf={tmp_path / 'sheet.pdf'}")
    assert console == [] and (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")
