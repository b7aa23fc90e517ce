"""Copies of the lake for other programs: PostgreSQL or TimescaleDB, InfluxDB, Redis; and a Redis stream of live ticks."""

from quantalpha.market.sinks.base import ROWS_AT_ONE_TIME, Digest, Series, Sink, canonical, digest, epoch, open_sink
from quantalpha.market.sinks.export import Check, Sent, check, export, stored_series
from quantalpha.market.sinks.influx import write_lines
from quantalpha.market.sinks.ticks import RedisTicks, read_ticks

__all__ = [
    "ROWS_AT_ONE_TIME", "Check", "Digest", "RedisTicks", "Sent", "Series", "Sink", "canonical", "check", "digest", "epoch", "export",
    "open_sink", "read_ticks", "stored_series", "write_lines",
]  # fmt: skip
