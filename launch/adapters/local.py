"""Carriers inside one process: the same Protocols as Courier and Reverb, without servers."""

import collections
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from optimus.wire import LossReply, LossRequest, LossUnavailable, decode, encode


class LocalStream:
    """An unbounded queue of encoded samples. For runners that call actor and learner in turn, so a
    bound would deadlock: one round is at most one batch.

    Attributes:
      dry: set when a sample was asked for and there was none: nobody else could add one.
    """

    def __init__(self) -> None:
        self.dry = threading.Event()
        self._samples: collections.deque[bytes] = collections.deque()

    def put(self, sample: bytes, timeout: float) -> bool:
        """See `SampleWriter.put`; never full."""
        if sample:
            self._samples.append(sample)
            self.dry.clear()
        return True

    def get(self, timeout: float) -> bytes | None:
        """See `SampleReader.get`; never waits."""
        if not self._samples:
            self.dry.set()
            return None
        return self._samples.popleft()

    def close(self) -> None:
        """Drops what is left."""
        self._samples.clear()


class LocalPool:
    """Loss servers called directly, over the same bytes as across a network.

    Args:
      evaluate: one callable per worker, request bytes -> reply bytes; each is used by one thread.
    """

    def __init__(self, evaluate: list[Callable[[bytes], bytes]]) -> None:
        self._free: queue.SimpleQueue[Callable[[bytes], bytes]] = queue.SimpleQueue()
        for worker in evaluate:
            self._free.put(worker)
        self._executor = ThreadPoolExecutor(len(evaluate), thread_name_prefix="loss")

    def _evaluate(self, request: LossRequest) -> LossReply:
        worker = self._free.get()
        try:
            reply = decode(LossReply, worker(encode(request)))
        finally:
            self._free.put(worker)
        if reply.status not in ("ok", "nonfinite"):
            raise LossUnavailable(f"{request.label}: {reply.status}: {reply.message}")
        return reply

    def submit(self, request: LossRequest) -> Future[LossReply]:
        """See `LossPool.submit`."""
        return self._executor.submit(self._evaluate, request)

    def close(self) -> None:
        """Cancels what has not started and waits for the rest."""
        self._executor.shutdown(wait=True, cancel_futures=True)
