"""Market data: fetch or import it, keep it raw, clean it, stream it."""

from quantalpha import lazy

MODULES = {
    "quantalpha.market.clean": ["clean_bars"],
    "quantalpha.market.download": ["download_symbol", "download_symbols", "verify"],
    "quantalpha.market.enrich": ["enrich_bars"],
    "quantalpha.market.exchange": ["Client"],
    "quantalpha.market.importer": ["check_files", "import_file", "import_files"],
    "quantalpha.market.inspection": ["inspect", "inspect_lake", "passports", "witnesses"],
    "quantalpha.market.instruments": ["seen_brackets"],
    "quantalpha.market.kinds": ["FUNDING", "index_kind", "mark_kind"],
    "quantalpha.market.leaders": ["join_leaders"],
    "quantalpha.market.onchain": ["join_onchain"],
    "quantalpha.market.orderbook": ["bars_from_book", "order_flow_imbalance"],
    "quantalpha.market.panel": ["read_panel"],
    "quantalpha.market.quality": ["counts", "judge"],
    "quantalpha.market.snapshot": ["put_back"],
    "quantalpha.market.store": ["Lake", "research_lake"],
    "quantalpha.market.stream": ["BarClose", "BarOpen", "backfill", "bars_between", "stream_bars"],
}
__all__, __getattr__, __dir__ = lazy.exports(__name__, MODULES)
