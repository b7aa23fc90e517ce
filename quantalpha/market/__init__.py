"""Market data: fetch or import it, keep it raw, clean it, stream it."""

from quantalpha.market.clean import clean_bars
from quantalpha.market.download import download, download_symbol
from quantalpha.market.exchange import Client
from quantalpha.market.importer import check_file, import_file
from quantalpha.market.panel import read_panel
from quantalpha.market.store import FUNDING, Lake, mark_kind
from quantalpha.market.stream import BarClose, BarOpen, backfill, stream_bars

__all__ = [
    "FUNDING", "BarClose", "BarOpen", "Client", "Lake", "backfill", "check_file", "clean_bars", "download", "download_symbol",
    "import_file", "mark_kind", "read_panel", "stream_bars",
]  # fmt: skip
