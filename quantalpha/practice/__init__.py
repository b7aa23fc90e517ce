"""An exchange on your own machine that speaks Binance USD-M and Bybit linear: market data from a tape, over REST and websocket."""

from quantalpha.practice.server import Server, run, serve
from quantalpha.practice.tape import Tape, load

__all__ = ["Server", "Tape", "load", "run", "serve"]
