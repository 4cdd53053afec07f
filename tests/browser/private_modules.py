"""The page's modules on an origin of their own, for tests that call them in Chromium without any page around them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from callseal.web.call_page import SOURCES


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {".js": "text/javascript", ".html": "text/html", ".css": "text/css", "": "application/octet-stream"}  # noqa: RUF012

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@contextmanager
def serving_modules() -> Iterator[str]:
    """Serve `web/call/` for as long as the block lasts; yields the origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(SOURCES)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
