"""A Prometheus endpoint on a run directory: reads its files at each scrape, writes none.

/metrics   everything `optimus watch` knows, in Prometheus' text format
/healthz   200 while the run is well; 503 when it is stale, lost or failed, with the reason
/          the same lines as `optimus watch --once`
"""

import contextlib
import itertools
import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from launch.monitoring.readings import number, numbers
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
    require(
        port.isascii() and port.isdigit() and int(port) <= 65535,
        f"--prometheus {text}: want PORT or HOST:PORT, such as 9464",
    )
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
    handler = type("Handler", (_Handler,), {"reader": _Reader(run_dir, max_age)})
    try:
        return _Server((host, port), handler)
    except (OSError, UnicodeError) as error:
        where = f"cannot listen on {host}:{port}"
        if isinstance(error, (socket.gaierror, UnicodeError)):
            raise ConfigError(f"{where}: no such host") from None
        raise MonitoringError(f"{where}: {error.strerror or error}") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A scraper that hangs up is not worth a traceback."""


class _Reader:
    """Reads the run at most once in `_CACHE` s."""

    def __init__(self, run_dir: Path, max_age: float) -> None:
        self.run_dir = run_dir
        self._max_age = max_age
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
    if status.stale:
        return f"stale: newest checkpoint {status.checkpoint_age} s old"
    if status.state in ("lost", "failed"):
        return f"{status.state} {status.cause}".strip()
    return ""


def exposition(status: Status | None, run_dir: Path) -> bytes:
    """The text of one scrape; without a status only `optimus_up` 0."""
    from prometheus_client import generate_latest

    collector = SimpleNamespace(collect=lambda: families(status, run_dir))
    return bytes(generate_latest(collector))  # type: ignore[arg-type]


# -- a status as metric families -------------------------------------------------------------------

# (name, words, value), the value a number or (label, numbers by label).
Samples = Iterator[tuple[str, str, float | tuple[str, Mapping[str, float]] | None]]


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
    for kind, samples in ((gauge, _gauges(status)), (counter, _counters(status, run_dir))):
        for name, words, value in samples:
            if isinstance(value, tuple):
                family = kind(f"optimus_{name}", words, labels=[value[0]])
                for key, each in sorted(value[1].items()):
                    family.add_metric([clean(key)], each)
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


def _gauges(s: Status) -> Samples:
    yield "step", "Updates done", s.step
    yield "updates_wanted", "Updates of the whole run", s.updates
    yield "updates_per_second", "Updates a second, over 60 s", s.updates_per_second
    yield "eta_seconds", "Time left at that rate", s.eta_seconds
    yield "meta_loss", "Meta-loss of the newest update", s.meta_loss
    yield "last_record_age_seconds", "Since any role wrote a record", s.last_record_age
    yield "checkpoint_step", "Step of the newest checkpoint", s.checkpoint_step
    yield "checkpoint_age_seconds", "Age of the newest checkpoint", s.checkpoint_age
    yield "stale", "1 when no checkpoint came for longer than the limit", s.stale
    yield "staleness_updates", "Largest age of a sample, over 60 s", s.staleness_max
    yield "learner_waiting_ratio", "Share of its time the learner waits", s.waiting_share
    yield "workers_quarantined", "Physics workers left alone after failures", s.quarantined
    score = s.scores[-1]["score"] if s.scores else None
    yield "evaluation_score", "Newest score on held-out tasks", score
    yield "best_score", "Score of the checkpoint that BEST names", s.best_score
    yield "best_step", "Step of the checkpoint that BEST names", s.best_step
    alive = {role: count["alive"] for role, count in s.roles.items()}
    wanted = {role: count["total"] for role, count in s.roles.items()}
    shares = {role: work["share"] for role, work in s.work.items()}
    yield "role_alive", "Processes with a record within 10 s", ("role", alive)
    yield "role_wanted", "Processes there should be", ("role", wanted)
    yield "role_busy_ratio", "Mean share of their time they work", ("role", shares)
    yield "time_ratio", "Where time goes", ("part", s.time_shares)
    damaged = "Lines at the end of a file that are no record and were passed over"
    yield "lines_damaged", damaged, ("file", s.lines_damaged)


def _counters(s: Status, run_dir: Path) -> Samples:
    yield "evaluations", "Loss evaluations in accepted samples", s.evaluations
    yield "samples_failed", "Samples of lanes whose loss failed", s.failed
    yield "metrics_records_lost", "Records that a full disk refused", s.records_lost
    yield "evaluations_failed", "Checkpoints that could not be evaluated", s.evaluations_failed
    yield "samples_refused", "Samples the learner refused", ("reason", s.refused)
    yield "replies", "Replies of physics workers", ("status", s.replies)
    yield "rpc", "What became of calls of physics workers", ("outcome", s.calls)
    waits: dict[str, float] = {}
    for record in _newest(run_dir, "actor"):
        for name, seconds in numbers(record, "time_in").items():
            waits[name] = waits.get(name, 0.0) + max(0.0, seconds)
    yield "actor_seconds", "Time of actors, by what they did", ("part", waits)
    stream = next(iter(_newest(run_dir, "stream")), {})
    sides = {side: number(stream, f"waiting_for_{side}_ms") for side in ("sampling", "inserts")}
    found = {side: ms / 1000.0 for side, ms in sides.items() if ms is not None}
    yield "stream_waiting_seconds", "Time the sample queue waited, by for whom", ("side", found)


def _newest(run_dir: Path, role: str) -> Iterator[dict[str, Any]]:
    """The last record of every process of a role."""
    for path in sorted(run_dir.glob(f"metrics/{role}-*.jsonl")):
        with contextlib.suppress(OSError):
            yield from metrics.tail(path, 8192)[-1:]
