"""An exchange on your own machine: Binance USD-M and Bybit linear market data, REST and websocket, from a synthetic or recorded tape."""

from quantalpha.practice.faults import Faults
from quantalpha.practice.limits import Limits
from quantalpha.practice.server import Server, run, serve
from quantalpha.practice.tape import Tape, load

__all__ = ["Faults", "Limits", "Server", "Tape", "load", "run", "serve"]
