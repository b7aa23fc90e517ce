"""Servers on loopback that receive what alerts send: a webhook and an SMTP server."""

import asyncio
import contextlib
import json
import queue
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 30.0  # seconds to wait for what must come


@dataclass
class Postbox:
    """Where a server listens, and what it has received in order."""

    address: str = ""
    mail: queue.Queue = field(default_factory=queue.Queue)
    status: int = 200

    def next(self):
        return self.mail.get(timeout=PATIENCE)

    def texts(self, count: int) -> list[str]:
        return [self.next()["message"] for _ in range(count)]


@contextlib.contextmanager
def webhook(status: int = 200) -> Iterator[Postbox]:
    """An HTTP server that keeps the JSON documents posted to it."""
    box = Postbox(status=status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            box.mail.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(box.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    box.address = f"json://127.0.0.1:{server.server_address[1]}/hook"
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


@contextlib.contextmanager
def smtp() -> Iterator[Postbox]:
    """A mail server (RFC 5321, as much as is needed) that keeps the letters it takes."""
    box, loop = Postbox(), asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 postbox\r\n")
        while (line := (await reader.readline()).strip()) and line.upper() != b"QUIT":
            if line.upper() == b"DATA":
                writer.write(b"354 go on\r\n")
                box.mail.put((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(b"250 ok\r\n")
            await writer.drain()
        writer.close()

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, "127.0.0.1", 0), loop).result(PATIENCE)
    port = server.sockets[0].getsockname()[1]
    box.address = f"mailto://127.0.0.1:{port}/?from=bot@localhost.example&to=quant@localhost.example&mode=insecure"
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)


@contextlib.contextmanager
def silence() -> Iterator[Postbox]:
    """A server that takes a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Postbox(f"json://127.0.0.1:{listener.getsockname()[1]}/hook?rto=600")
