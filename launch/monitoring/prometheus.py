"""A Prometheus endpoint on a run directory: reads its files at each scrape, writes none.

/metrics   everything `optimus watch` knows, in Prometheus' text format
/healthz   200 while the run is well; 503 when it is stale, lost or failed, with the reason
/          the same lines as `optimus watch --once`
"""

import contextlib
import itertools
import json
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from launch.monitoring.readings import number, numbers, sound
from launch.monitoring.status import ACTIVE, MAX_AGE, MonitoringError, NotARun, Status, read_status
from launch.monitoring.watch import clean, rows
from optimus.errors import ConfigError, require
from optimus.installation import extra_command
from optimus.rundir import metrics
from optimus.rundir.histogram import BOUNDS, total

_CACHE = 1.0  # s that a status is served again: many scrapers cost no more than one


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serves on a thread until the block ends."""
    threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def place(text: str) -> tuple[str, int]:
    """(host, port) out of "PORT" or "HOST:PORT"; raises `ConfigError`. The host is 127.0.0.1 unless
    given, port 0 takes a free one."""

    host, _, port = text.rpartition(":")
    good = port.isascii() and port.isdigit() and int(port) <= 65535
    require(good, f"--prometheus {text}: want PORT or HOST:PORT, such as 9464")
    return host or "127.0.0.1", int(port)


def open_server(
    run_dir: Path, port: int, host: str = "127.0.0.1", max_age: float = MAX_AGE
) -> ThreadingHTTPServer:
    """The server, bound and not yet serving.

    Args:
      run_dir: the run; it need not exist yet.
      port: to listen on; 0 takes a free one.
      host: interface; "0.0.0.0" for all. What is served can be read by anybody who reaches it.
      max_age: s, see `Status.stale`.

    Raises:
      MonitoringError: the port cannot be opened, or prometheus-client is not installed.
      ConfigError: there is no such host.
    """
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError:
        how = extra_command("monitor")
        raise MonitoringError(f"prometheus-client is not installed: {how}") from None
    of_run = {"run_dir": run_dir, "max_age": max_age, "lock": threading.Lock()}
    try:
        return _Server((host, port), type("Handler", (_Handler,), of_run))
    except (OSError, UnicodeError) as error:
        where = f"cannot listen on {host}:{port}"
        if isinstance(error, (socket.gaierror, UnicodeError)):
            raise ConfigError(f"{where}: no such host") from None
        raise MonitoringError(f"{where}: {error.strerror or error}") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A scraper that hangs up is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    """Reads the run at most once in `_CACHE` s; `open_server` makes a class of it for each run."""

    run_dir: Path
    max_age: float
    lock: threading.Lock
    read_at = -math.inf
    found: tuple[Status | None, str] = (None, "not read yet")
    timeout = 10.0  # s that a client may take over its request
    protocol_version = "HTTP/1.1"

    @classmethod
    def status(cls) -> tuple[Status | None, str]:
        """The status, or None and why there is none."""
        with cls.lock:
            if time.monotonic() - cls.read_at > _CACHE:
                try:
                    cls.found = read_status(cls.run_dir, max_age=cls.max_age), ""
                except (NotARun, OSError) as error:
                    cls.found = None, str(error)
                cls.read_at = time.monotonic()
            return cls.found

    def do_GET(self) -> None:
        from prometheus_client import CONTENT_TYPE_LATEST

        path = self.path.partition("?")[0]
        status, cause = self.status()
        if path == "/metrics":
            self._answer(200, exposition(status, self.run_dir), CONTENT_TYPE_LATEST)
        elif path == "/healthz":
            problem = cause or (_problem(status) if status else "")
            self._answer(503 if problem else 200, f"{clean(problem) or 'ok'}\n".encode())
        elif path == "/":
            lines = [f"{name:<16}{text}" for name, text in rows(status)] if status else [cause]
            self._answer(200, "\n".join([*map(clean, lines), ""]).encode())
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
    bad = f"{status.state} {status.cause}".strip() if status.state in ("lost", "failed") else ""
    return f"stale: newest checkpoint {status.checkpoint_age} s old" if status.stale else bad


def exposition(status: Status | None, run_dir: Path) -> bytes:
    """The text of one scrape; without a status only `optimus_up` 0."""
    from prometheus_client import generate_latest

    collector = SimpleNamespace(collect=lambda: families(status, run_dir))
    return bytes(generate_latest(collector))  # type: ignore[arg-type]


# -- a status as metric families -------------------------------------------------------------------

# Family -> its kind, help, and field of `Status`; of a mapping also its label, and the key of the
# numbers where it is of records.
_FAMILIES = json.loads(Path(__file__).with_name("metrics.json").read_text(encoding="utf-8"))


def families(status: Status | None, run_dir: Path) -> Iterator[Any]:
    """All families of one scrape; what is not known is left out: alerts on it stay quiet."""
    from prometheus_client import core

    gauge, counter = core.GaugeMetricFamily, core.CounterMetricFamily
    running = status is not None and status.state in ACTIVE
    yield gauge("optimus_up", "1 while the run is running or lost", value=running)
    if status is None:
        return
    about = {"name": status.name, "task": status.task, "state": status.state}
    info = {key: clean(text) for key, text in (*about.items(), ("launch", status.launch or ""))}
    yield core.InfoMetricFamily("optimus_run", "What the run is", value=info)
    computed = _computed(status, run_dir)
    for name, about in _FAMILIES.items():
        value = computed[name] if name in computed else getattr(status, about["field"])
        kind, words = gauge if about["kind"] == "gauge" else counter, about["help"]
        if "label" in about:
            family = kind(f"optimus_{name}", words, labels=[about["label"]])
            for key, each in sorted(value.items()):
                family.add_metric([clean(key)], each[about["key"]] if "key" in about else each)
            yield family
        elif value is not None:
            yield kind(f"optimus_{name}", words, value=value)
    latency = total(record.get("latency") for record in _newest(run_dir, "actor"))
    if latency is not None:
        seen = itertools.accumulate(latency["counts"])
        buckets = list(zip((*map(str, BOUNDS), "+Inf"), seen))
        words = "Calls of physics workers as the actors see them"
        name = "optimus_rpc_latency_seconds"
        yield core.HistogramMetricFamily(name, words, buckets=buckets, sum_value=latency["sum"])


def _computed(status: Status, run_dir: Path) -> dict[str, Any]:
    """The families that are no field of `Status`."""
    waits: Counter[str] = Counter()
    for record in _newest(run_dir, "actor"):
        spent = numbers(record, "time_in")
        waits.update({name: max(0.0, seconds) for name, seconds in spent.items()})
    stream = next(iter(_newest(run_dir, "stream")), {})
    sides = {side: number(stream, f"waiting_for_{side}_ms") for side in ("sampling", "inserts")}
    return {
        "evaluation_score": status.scores[-1]["score"] if status.scores else None,
        "actor_seconds": waits,
        "stream_waiting_seconds": {k: ms / 1000.0 for k, ms in sides.items() if ms is not None},
    }


def _newest(run_dir: Path, role: str) -> Iterator[dict[str, Any]]:
    """The last record of every process of a role."""
    for path in sorted(run_dir.glob(f"metrics/{role}-*.jsonl")):
        with contextlib.suppress(OSError):
            yield from metrics.tail(path, 8192, good=sound)[-1:]
