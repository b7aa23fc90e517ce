"""Market data: fetch or import it, keep it raw, clean it, stream it."""

from quantalpha.market.clean import clean_bars
from quantalpha.market.download import download, download_symbol, verify
from quantalpha.market.enrich import enrich
from quantalpha.market.exchange import Client
from quantalpha.market.importer import check_files, import_file, import_files
from quantalpha.market.inspection import inspect, inspect_lake, passports, witnesses
from quantalpha.market.instruments import seen_brackets
from quantalpha.market.kinds import FUNDING, index_kind, mark_kind
from quantalpha.market.leaders import join_leaders
from quantalpha.market.onchain import join_onchain
from quantalpha.market.orderbook import bars_from_book, order_flow_imbalance
from quantalpha.market.panel import read_panel
from quantalpha.market.quality import counts, judge
from quantalpha.market.snapshot import put_back
from quantalpha.market.store import Lake, research_lake
from quantalpha.market.stream import BarClose, BarOpen, backfill, bars_between, stream_bars

__all__ = [
    "BarClose", "BarOpen", "Client", "FUNDING", "Lake", "backfill", "bars_between", "bars_from_book", "check_files", "clean_bars",
    "counts", "download", "download_symbol", "enrich", "import_file", "import_files", "index_kind", "inspect", "inspect_lake",
    "join_leaders", "join_onchain", "judge", "mark_kind", "order_flow_imbalance", "passports", "put_back", "read_panel", "research_lake",
    "seen_brackets", "stream_bars", "verify", "witnesses",
]  # fmt: skip
