"""quantalpha: a research-first workspace for crypto perpetual-futures quants."""

__version__ = "0.1.0"
