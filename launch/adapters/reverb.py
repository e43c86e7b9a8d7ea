"""Reverb behind `SampleWriter` and `SampleReader`: one queue, each sample read once.

Measured behaviour of Reverb 0.7.2: inserting blocks while the queue is full and
for ever when the server is gone; `sample` has no time-out. So inserting is flushed with a time
limit, and reading happens on a daemon thread that hands over through a bounded queue.
"""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import reverb

from optimus.rundir.metrics import MetricsWriter, heartbeat
from optimus.wire import MAX_SAMPLE_BYTES

_LOG = logging.getLogger(__name__)
TABLE = "samples"
_STOP_PATIENCE = 1.0  # s
_REPORT_PATIENCE = 2  # s
_FOREVER = 2**31 - 1  # one sampler for the whole run, not one per sample


def _frame(sample: bytes, limit: int) -> np.ndarray:
    """Sample as uint8 `[4 + limit]`: a Reverb column has one shape for ever, so the length goes in
    front and zeros (which compress to nothing) behind."""
    if len(sample) > limit:
        raise ValueError(f"a sample of {len(sample)} bytes; the limit is {limit}")
    frame = np.zeros(4 + limit, np.uint8)
    frame[:4] = np.frombuffer(len(sample).to_bytes(4, "little"), np.uint8)
    frame[4 : 4 + len(sample)] = np.frombuffer(sample, np.uint8)
    return frame


def _unframe(columns: Sequence[np.ndarray], limit: int) -> bytes:
    """Inverse of `_frame` for one item; b"", which is no sample, for what is not ours."""
    frame = columns[0] if len(columns) == 1 else np.zeros(0)
    if frame.dtype != np.uint8 or frame.shape != (1, 4 + limit):
        return b""
    data = frame.tobytes()
    size = int.from_bytes(data[:4], "little")
    return data[4 : 4 + size] if size <= limit else b""


def serve(port: int, capacity: int, stop: threading.Event) -> None:
    """Serves the queue until `stop`: first in, first out, inserts block at `capacity` samples.

    It starts empty and is never checkpointed: a restored table would bring back old samples.
    """
    server = reverb.Server([reverb.Table.queue(TABLE, max_size=capacity)], port=port)
    stop.wait()
    # Stopping waits seconds for whatever stream is still open, and in one process with the actors
    # for them. Nothing that matters is left in the queue by then, so the wait is bounded.
    stopping = threading.Thread(target=server.stop, name="stream-stop", daemon=True)
    stopping.start()
    stopping.join(timeout=_STOP_PATIENCE)


class StreamWriter:
    """`SampleWriter` over one Reverb TrajectoryWriter; a new one after the stream has restarted.

    limit: bytes of the largest sample.
    """

    def __init__(self, address: str, limit: int = MAX_SAMPLE_BYTES) -> None:
        self._address = address
        self._limit = limit
        self._writer: reverb.TrajectoryWriter | None = None
        self._pending = b""  # handed over, not yet confirmed
        self.reconnected = 0

    def put(self, sample: bytes, timeout: float) -> bool:
        """See `SampleWriter.put`."""
        try:
            if sample:
                self._pending = sample
                self._append(sample)
            if self._writer is None and self._pending:
                self._append(self._pending)
            if self._writer is not None:
                self._writer.flush(timeout_ms=max(1, int(1000 * timeout)))
        except reverb.DeadlineExceededError:
            return False
        except RuntimeError:
            # The server went away with the item unconfirmed, or the writer is broken: a new one
            # sends it again. The learner ignores duplicates.
            self._writer = None
            self.reconnected += 1
            time.sleep(min(0.5, timeout))
            return False
        self._pending = b""
        return True

    def _append(self, sample: bytes) -> None:
        if self._writer is None:
            # A client of its own: channels to a server that died wait long before they try again.
            self._writer = reverb.Client(self._address).trajectory_writer(num_keep_alive_refs=1)
        self._writer.append({"sample": _frame(sample, self._limit)})
        column = self._writer.history["sample"][-1:]
        self._writer.create_item(TABLE, 1.0, {"sample": column})

    def close(self) -> None:
        """Gives pending samples a last moment. The writer itself is left to the process's end:
        closing it waits for the server, however long that takes."""
        self.put(b"", timeout=0.2)


class StreamReader:
    """`SampleReader`: a daemon thread blocks in Reverb, the caller never does.

    What is no sample is handed over too, as b"": whoever counts refusals counts it.

    Args:
      address: host:port. capacity: samples held here. limit: bytes of the largest sample.
    """

    def __init__(self, address: str, capacity: int, limit: int = MAX_SAMPLE_BYTES) -> None:
        self._address = address
        self._limit = limit
        self._ready: queue.Queue[bytes] = queue.Queue(maxsize=capacity)
        self._closed = threading.Event()
        self.reconnected = 0
        threading.Thread(target=self._read, name="stream", daemon=True).start()

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                client = reverb.Client(self._address)
                for item in client.sample(TABLE, _FOREVER, emit_timesteps=False):
                    self._ready.put(_unframe(item.data, self._limit))
                    if self._closed.is_set():
                        return
            except Exception as error:  # the stream went away: it starts again, and so do we
                self.reconnected += 1
                _LOG.warning("sample stream %s: %s; trying again", self._address, error)
                self._closed.wait(0.5)

    def get(self, timeout: float) -> bytes | None:
        """See `SampleReader.get`. A stream that stays away shows as no sample for long."""
        try:
            return self._ready.get(timeout=timeout)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Stops handing over; the thread ends with the process."""
        self._closed.set()


def report_in_background(port: int, run_dir: Path, stop: threading.Event) -> None:
    """Writes a record about the queue of a server on this host every 2 s until `stop`, on a daemon
    thread; without an answer one that only says that the process lives.

    `queued`: samples waiting now. `inserted`, `sampled`: so far. `waiting_for_sampling_ms`,
    `waiting_for_inserts_ms`: ms that the queue stood full, or empty, for the other side to come;
    which of the two grows says who is the bottleneck.
    """
    client, writer = reverb.Client(f"localhost:{port}"), MetricsWriter(run_dir, "stream")

    def report() -> None:
        try:
            table = client.server_info(timeout=_REPORT_PATIENCE)[TABLE]
        except (RuntimeError, KeyError):  # starting, or stopping
            writer.write("alive")
            return
        limiter, times = table.rate_limiter_info, table.table_worker_time
        writer.write(
            "alive",
            queued=int(table.current_size),
            inserted=int(limiter.insert_stats.completed),
            sampled=int(limiter.sample_stats.completed),
            waiting_for_sampling_ms=int(times.waiting_for_sampling_ms),
            waiting_for_inserts_ms=int(times.waiting_for_inserts_ms),
        )

    reporting = (SimpleNamespace(report=report), stop.wait)
    threading.Thread(target=heartbeat, args=reporting, name="report", daemon=True).start()
