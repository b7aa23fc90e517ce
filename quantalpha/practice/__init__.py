"""An exchange on your own machine: Binance USD-M and Bybit linear, REST and websocket, from a synthetic or recorded tape."""

from quantalpha.practice.faults import Faults
from quantalpha.practice.keys import ApiKey
from quantalpha.practice.limits import Limits
from quantalpha.practice.server import Server, run, serve
from quantalpha.practice.stream_faults import StreamFaults
from quantalpha.practice.tape import Tape, load
from quantalpha.practice.trading_faults import TradingFaults

__all__ = ["ApiKey", "Faults", "Limits", "Server", "StreamFaults", "Tape", "TradingFaults", "load", "run", "serve"]
