"""Reverb behind `SampleWriter` and `SampleReader`: one queue, each sample read once.

Measured behaviour (distributed fact sheet, section 4): inserting blocks while the queue is full and
for ever when the server is gone; `sample` has no time-out. So inserting is flushed with a time
limit, and reading happens on a daemon thread that hands over through a bounded queue.
"""

from __future__ import annotations

import queue
import threading

import numpy as np
import reverb

from optimus.wire import MAX_SAMPLE_BYTES

TABLE = "samples"
_STOP_PATIENCE = 1.0  # s
_FOREVER = 2**31 - 1  # one sampler for the whole run, not one per sample


def _frame(sample: bytes) -> np.ndarray:
    """Sample as uint8 `[2 + MAX_SAMPLE_BYTES]`: a Reverb column has one shape for ever, so the
    length goes in front and zeros (which compress to nothing) behind."""
    if len(sample) > MAX_SAMPLE_BYTES:
        raise ValueError(f"a sample of {len(sample)} bytes; the limit is {MAX_SAMPLE_BYTES}")
    frame = np.zeros(2 + MAX_SAMPLE_BYTES, np.uint8)
    frame[:2] = np.frombuffer(len(sample).to_bytes(2, "little"), np.uint8)
    frame[2 : 2 + len(sample)] = np.frombuffer(sample, np.uint8)
    return frame


def _unframe(frame: np.ndarray) -> bytes:
    data = np.asarray(frame, np.uint8).tobytes()
    return data[2 : 2 + int.from_bytes(data[:2], "little")]


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
    """`SampleWriter` over one Reverb TrajectoryWriter."""

    def __init__(self, address: str) -> None:
        self._client = reverb.Client(address)
        self._writer = self._client.trajectory_writer(num_keep_alive_refs=1)

    def put(self, sample: bytes, timeout: float) -> bool:
        """See `SampleWriter.put`."""
        if sample:
            self._writer.append({"sample": _frame(sample)})
            column = self._writer.history["sample"][-1:]
            self._writer.create_item(TABLE, 1.0, {"sample": column})
        try:
            self._writer.flush(timeout_ms=max(1, int(1000 * timeout)))
        except reverb.DeadlineExceededError:
            return False
        return True

    def close(self) -> None:
        """Gives pending samples a last moment. The writer itself is left to the process's end:
        closing it waits for the server, however long that takes."""
        self.put(b"", timeout=0.2)


class StreamReader:
    """`SampleReader`: a daemon thread blocks in Reverb, the caller never does."""

    def __init__(self, address: str, capacity: int) -> None:
        self._client = reverb.Client(address)
        self._ready: queue.Queue[bytes] = queue.Queue(maxsize=capacity)
        self._failure: Exception | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._read, name="stream", daemon=True).start()

    def _read(self) -> None:
        try:
            for item in self._client.sample(TABLE, num_samples=_FOREVER):
                self._ready.put(_unframe(item[0].data[0]))
                if self._closed.is_set():
                    return
        except Exception as error:  # handed to whoever reads next
            self._failure = error

    def get(self, timeout: float) -> bytes | None:
        """See `SampleReader.get`; raises `RuntimeError` when the stream is gone."""
        try:
            return self._ready.get(timeout=timeout)
        except queue.Empty:
            if self._failure is not None and not self._closed.is_set():
                raise RuntimeError(f"the sample stream is gone: {self._failure}") from None
            return None

    def close(self) -> None:
        """Stops handing over; the thread ends with the process."""
        self._closed.set()


def occupancy(address: str, timeout: int = 2) -> int:
    """Samples waiting in the queue."""
    return int(reverb.Client(address).server_info(timeout=timeout)[TABLE].current_size)
