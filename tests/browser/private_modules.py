"""The page, and its modules one by one, on origins of their own: for tests that need no other server, or a hostile one."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from callseal.web.call_page import SOURCES, TYPES, build_page, content_policy


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {".js": "text/javascript", ".html": "text/html", ".css": "text/css", "": "application/octet-stream"}  # noqa: RUF012

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class _Page(_Quiet):
    def do_GET(self) -> None:
        name = self.path.removeprefix("/") or "index.html"
        content = build_page().get(name)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", TYPES.get(name, "text/plain"))
        self.send_header("Content-Security-Policy", content_policy())
        self.end_headers()
        self.wfile.write(content or b"")


def serving_modules() -> AbstractContextManager[str]:
    """Serve `web/call/` for as long as the block lasts; yields the origin."""
    return _serving(partial(_Quiet, directory=str(SOURCES)))


def serving_page() -> AbstractContextManager[str]:
    """Serve the built page alone, and nothing behind it."""
    return _serving(_Page)


@contextmanager
def _serving(handler: Any) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
