"""A Prometheus endpoint on a run directory: reads files at each scrape, harms nobody.

/metrics   everything `optimus watch` knows, in Prometheus' text format
/healthz   200 while the run is well; 503 when it is stale, lost or failed, with the reason
/          the same lines as `optimus watch --once`
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from launch.monitoring.families import families
from launch.monitoring.status import MAX_AGE, MonitoringError, NotARun, Status, read_status
from launch.monitoring.watch_view import rows

PORT = 9464
_CACHE = 1.0  # s that a status is served again: many scrapers cost no more than one


def serve(
    run_dir: Path,
    port: int,
    stop: threading.Event,
    host: str = "127.0.0.1",
    max_age: float = MAX_AGE,
) -> None:
    """Serves until `stop`.

    Args:
      run_dir: the run; it need not exist yet.
      port: to listen on; 0 takes a free one. stop: ends it within 0.5 s.
      host: interface; "0.0.0.0" for all. What is served can be read by anybody who reaches it.
      max_age: s, see `Status.stale`.

    Raises:
      MonitoringError: the port cannot be opened, or prometheus-client is not installed.
    """
    with serving(open_server(run_dir, port, host, max_age)) as thread:
        while not stop.wait(0.5) and thread.is_alive():
            pass


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[threading.Thread]:
    """Serves, on the thread that is given, until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        server.shutdown()
        server.server_close()


def place(text: str) -> tuple[str, int]:
    """(host, port) out of "PORT" or "HOST:PORT"; raises `ConfigError`. The host is 127.0.0.1 unless
    given, port 0 takes a free one."""
    from optimus.config import ConfigError

    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--prometheus {text}: want PORT or HOST:PORT, such as 9464")
    return host or "127.0.0.1", int(port)


def open_server(
    run_dir: Path, port: int, host: str = "127.0.0.1", max_age: float = MAX_AGE
) -> ThreadingHTTPServer:
    """The server, bound and not yet serving; raises `MonitoringError`."""
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError:
        raise MonitoringError(
            "prometheus-client is not installed; pip install 'optimus-learned-optimizer[monitor]'"
        ) from None
    reader = _Reader(run_dir, max_age)
    handler = type("Handler", (_Handler,), {"reader": reader})
    try:
        server = _Server((host, port), handler)
    except (OSError, OverflowError) as error:
        cause = error.strerror if isinstance(error, OSError) else "no such port"
        raise MonitoringError(f"cannot listen on {host}:{port}: {cause or error}") from None
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A scraper that hangs up is not worth a traceback."""


class _Reader:
    """Reads the run at most once in `_CACHE` s."""

    def __init__(self, run_dir: Path, max_age: float) -> None:
        self.run_dir, self._max_age = run_dir, max_age
        self._lock = threading.Lock()
        self._read_at = -math.inf
        self._found: tuple[Status | None, str] = (None, "not read yet")

    def status(self) -> tuple[Status | None, str]:
        """The status, or None and why there is none."""
        with self._lock:
            if time.monotonic() - self._read_at > _CACHE:
                try:
                    self._found = read_status(self.run_dir, max_age=self._max_age), ""
                except (NotARun, OSError) as error:
                    self._found = None, str(error)
                self._read_at = time.monotonic()
            return self._found


class _Handler(BaseHTTPRequestHandler):
    reader: _Reader
    timeout = 10.0  # s that a client may take over its request
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        from prometheus_client import CONTENT_TYPE_LATEST

        path = self.path.partition("?")[0]
        status, cause = self.reader.status()
        if path == "/metrics":
            self._answer(200, exposition(status, self.reader.run_dir), CONTENT_TYPE_LATEST)
        elif path == "/healthz":
            problem = cause or (_problem(status) if status else "")
            self._answer(503 if problem else 200, f"{problem or 'ok'}\n".encode())
        elif path == "/":
            lines = [f"{name:<16}{text}" for name, text in rows(status)] if status else [cause]
            self._answer(200, "\n".join([*lines, ""]).encode())
        else:
            self._answer(404, b"want /metrics, /healthz or /\n")

    def _answer(self, code: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Scrapes are not worth a line."""


def _problem(status: Status) -> str:
    if status.stale:
        return f"stale: newest checkpoint {status.checkpoint_age} s old"
    if status.state in ("lost", "failed"):
        return f"{status.state} {status.cause}".strip()
    return ""


def exposition(status: Status | None, run_dir: Path) -> bytes:
    """The text of one scrape; without a status only `optimus_up` 0."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import Metric

    class _Once:
        def collect(self) -> Iterator[Metric]:
            yield from families(status, run_dir)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once())  # type: ignore[arg-type]
    return bytes(generate_latest(registry))
