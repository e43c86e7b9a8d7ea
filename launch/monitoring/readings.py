"""Numbers, rates and shares out of metrics records.

Records may come from another version, a damaged file, or a host whose clock jumps. A rate is taken
over the uptime of one life of one process, which never jumps; without one there is no rate.
"""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch.evaluation.records import FILE, FORMAT, KIND
from optimus.config.compatibility import layout_in
from optimus.errors import ConfigError
from optimus.files import read_json
from optimus.rundir import metrics
from optimus.rundir.metrics import Damaged

RECENT = 60.0  # s that rates and shares are taken over
ALIVE = 10.0  # s since its newest record: a worker or actor counts as alive
_SKEW = 60.0  # s that the clocks of two hosts may differ
_TAIL, _SHORT_TAIL = 256 * 1024, 8192  # bytes read of the learner's file, of any other
_LONGEST_CONFIG = 4 << 20  # bytes; more is no config.json
COMPARED = ("start", "end", "difference", "low", "high", "tasks")  # of a run's start and end
_COUNTS = ("step", "updates", "evaluations", "phase", "staleness", "failed", "lost")
_CLOCKS = ("time", "uptime", "seconds", "waiting", "loss_seconds", "busy_seconds")
BUSY = 0.5  # share of its time from which a worker counts as busy

Record = Mapping[str, Any]
Files = Mapping[str, list[dict[str, Any]]]  # records of each process, by ROLE-INDEX


def number(record: Record, key: str) -> float | None:
    """A finite number, or None: what is not finite is written as a string."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1e300 else None


def clock(record: Record, key: str) -> float | None:
    """s since 1970, or that something took: a number of 0 ... 1e11, or None."""
    value = number(record, key)
    return value if value is not None and 0 <= value < 1e11 else None


def count(record: Record, key: str) -> int | None:
    """A whole number of 0 ... 1e18, or None."""
    value = number(record, key)
    return int(value) if value is not None and 0 <= value < 1e18 else None


def whole(record: Record, key: str) -> int:
    """A count, 0 where there is none."""
    return count(record, key) or 0


def age(now: float, time: float) -> float:
    """s from `time` until `now`. What lies further ahead than clocks differ is of a clock that was
    wrong: it is as old as it is far, so that it does not count as fresh until then."""
    ahead = time - now
    return ahead if ahead > _SKEW else max(0.0, -ahead)


def mapping(record: Record, key: str) -> Record:
    """A record inside a record; {} where there is none."""
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def counts(record: Record, key: str) -> dict[str, int]:
    """A mapping of counts; {} where there is none."""
    return {str(k): v for k, v in mapping(record, key).items() if metrics.is_step(v)}


def numbers(record: Record, key: str) -> dict[str, float]:
    """A mapping of finite numbers; {} where there is none."""
    inner = mapping(record, key)
    found = {str(k): number(inner, k) for k in inner}
    return {k: v for k, v in found.items() if v is not None}


# -- files -----------------------------------------------------------------------------------------


def read_config(run_dir: Path) -> dict[str, Any]:
    """`config.json` as it is, of whatever version; {} where it cannot be read."""
    try:
        config = read_json(run_dir / "config.json", _LONGEST_CONFIG)
    except ConfigError:
        return {}
    return config if isinstance(config, dict) else {}


def sound_evaluation(record: Record) -> bool:
    """Whether a line of `eval.jsonl` has the fields of its kind; other kinds are others' affair."""
    kind, whole_step = record.get("kind"), metrics.is_step(record.get("step"))
    if kind == KIND:
        version = record.get("format")
        judged = "error" in record or metrics.is_number(record.get("score"))
        judged = judged and isinstance(record.get("protocol", ""), str) and whole_step
        return type(version) is int and (version > FORMAT or judged)
    if "kind" in record:
        return isinstance(kind, str)
    if record.get("event") == "validation":
        return whole_step and metrics.is_number(record.get("gap"))
    compared = all(metrics.is_number(record.get(key)) for key in COMPARED)
    return whole_step and compared and count(record, "tasks") is not None


def damaged_evaluations(run_dir: Path) -> str:
    """How many lines of `eval.jsonl` are passed over, for people; "" where none is."""
    found = Damaged()
    with contextlib.suppress(OSError):
        for _ in metrics.read(run_dir / FILE, found, sound_evaluation):
            pass
    return f"{FILE}: {found[FILE]} damaged lines passed over" if found else ""


def task_of(config: Record) -> str:
    """For example "analytic quadratic"."""
    task = mapping(config, "task")
    parts = " ".join(str(task[k]) for k in ("kind", "family", "split") if k in task)
    return parts if task else "unknown task"


def read_files(run_dir: Path, damaged: Damaged | None = None) -> Files:
    """The newest records of every process that have an event and a time; others are counted."""
    damaged = Damaged() if damaged is None else damaged
    files: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(run_dir.glob("metrics/*.jsonl")):
        limit, files[path.stem] = _TAIL if path.stem == "learner-0" else _SHORT_TAIL, []
        with contextlib.suppress(OSError):
            files[path.stem] = metrics.tail(path, limit, damaged, sound)
    return files


def sound(record: Record) -> bool:
    """Whether a record has an event and a time, one of an update its step, and whatever it has of
    counts and of seconds is such: neither negative nor beyond all bounds."""
    event = record.get("event")
    needed = ("time", "step") if event == "update" else ("time",)
    complete = isinstance(event, str) and all(key in record for key in needed)
    counted = all(metrics.is_step(record[key]) for key in _COUNTS if key in record)
    timed = all(clock(record, key) is not None for key in _CLOCKS if key in record)
    return complete and counted and timed


def newest(files: Files, role: str) -> list[dict[str, Any]]:
    """The last record of every process of a role."""
    return [r[-1] for stem, r in files.items() if stem.startswith(f"{role}-") and r]


# -- records of one process ------------------------------------------------------------------------


def last(records: Sequence[dict[str, Any]], *events: str) -> dict[str, Any]:
    """The newest record of these events; {} without one."""
    return next((record for record in reversed(records) if record["event"] in events), {})


def this_life(records: Sequence[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """What follows the newest record of an event that opens a life; all where there is none."""
    opened = [k for k, record in enumerate(records) if record["event"] == event]
    return list(records[opened[-1] if opened else 0 :])


def elapsed(first: Record, newest: Record) -> float:
    """s between two records of one process; 0 when they are of two lives."""
    a, b = number(first, "uptime"), number(newest, "uptime")
    return max(0.0, b - a) if a is not None and b is not None else 0.0


def recent(
    updates: Sequence[dict[str, Any]], now: float | None
) -> tuple[list[dict[str, Any]], float]:
    """Updates within `RECENT` of the newest (two at least, where there are), and the s they took.

    When nothing new has come for long until `now` (s since 1970), that counts too: rates sink.
    """
    if len(updates) < 2:
        return list(updates), 0.0
    newest = updates[-1]
    first = len(updates) - 1
    while first > 0 and _close(updates[first - 1], updates[first], newest):
        first -= 1
    chosen = list(updates[min(first, len(updates) - 2) :])
    silence = age(now, newest["time"]) if now is not None else 0.0
    return chosen, elapsed(chosen[0], newest) + (silence if silence > RECENT else 0.0)


def _close(before: Record, after: Record, newest: Record) -> bool:
    """Whether `before` is of the same life as `after`, and not long before `newest`."""
    a, b, end = (number(record, "uptime") for record in (before, after, newest))
    return a is not None and b is not None and end is not None and a <= b and end - a <= RECENT


def rate(chosen: Sequence[Record], key: str, seconds: float) -> float | None:
    """Growth a second over records of one life; None where it cannot be told, never negative."""
    if len(chosen) < 2 or seconds < 1e-3:  # the unit that uptimes are written in
        return None
    first, newest = number(chosen[0], key), number(chosen[-1], key)
    if first is None or newest is None or newest < first:  # went back to an older checkpoint
        return None
    return (newest - first) / seconds


def busy_share(records: Sequence[Record], key: str) -> float | None:
    """Share of the time between a process's last two records of it that it worked, 0 ... 1."""
    pair = [record for record in records if number(record, key) is not None][-2:]
    share = rate(pair, key, elapsed(pair[0], pair[-1])) if pair else None
    return None if share is None else min(1.0, share)


def work(files: Files, role: str, key: str) -> dict[str, float]:
    """{"busy": how many of a role are at work, "share": mean share of their time}; {} unknown."""
    found = [busy_share(r, key) for stem, r in files.items() if stem.rpartition("-")[0] == role]
    known = [share for share in found if share is not None]
    busy = sum(share >= BUSY for share in known)
    return {"busy": busy, "share": sum(known) / len(known)} if known else {}


def roles(config: Record, files: Files, now: float, served: bool) -> dict[str, dict[str, int]]:
    """Who is there: role -> {"alive", "total"}; total from the configuration, or seen if more.

    Args:
      config: `config.json` as it is.
      files: records of all processes.
      now: s since 1970, or infinite where nobody is alive any more.
      served: whether losses are served by workers.
    """
    layout = layout_in(config)
    total = {"actor": whole(layout, "actors")}
    total["physics_worker"] = whole(layout, "workers") if served else 0
    total["evaluator"] = int(config.get("evaluator") is True)
    seen: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    for stem, records in files.items():
        role = stem.rpartition("-")[0]
        if role not in ("learner", "launcher"):
            seen[role] += 1
            alive[role] += bool(records) and age(now, records[-1]["time"]) < ALIVE
    totals = {r: max(total.get(r, 0), seen[r]) for r in sorted(total.keys() | seen.keys())}
    return {r: {"alive": alive[r], "total": count} for r, count in totals.items() if count}


def outside_share(before: Record, after: Record) -> float | None:
    """Share of its calls' time that was not spent in the simulator, between two records of an
    actor: wire, queue of the worker, codec; None where there were no calls."""

    def grown(key: str, old: Record, new: Record) -> float:
        return (number(new, key) or 0.0) - (number(old, key) or 0.0)

    calls = grown("sum", mapping(before, "latency"), mapping(after, "latency"))
    losses = grown("loss_seconds", before, after)
    return min(1.0, max(0.0, 1.0 - losses / calls)) if calls > 0 and losses >= 0 else None


def time_shares(chosen: Sequence[Record], seconds: float, files: Files) -> dict[str, float]:
    """Where time goes, each 0 ... 1 of the time of those who do it.

    Args:
      chosen: recent updates. seconds: that they took. files: records of all processes.

    Returns:
      "learner", "samples": of the learner's, computing and waiting for the stream. "loss": of the
      physics workers'. What actors say in `time_in` (cumulative s by name), as "actor: <name>"; of
      "losses", what the calls of that time spent outside of the simulator is "network".
    """
    found: dict[str, float] = {}
    if len(chosen) > 1 and seconds > 0:
        waiting = sum(number(r, "waiting") or 0.0 for r in chosen[1:])
        busy = sum(number(r, "seconds") or 0.0 for r in chosen[1:]) - waiting
        found["learner"] = min(1.0, max(0.0, busy / seconds))
        found["samples"] = min(1.0, max(0.0, waiting / seconds))
    share = work(files, "physics_worker", "loss_seconds").get("share")
    if share is not None:
        found["loss"] = share
    actors = [r[-2:] for stem, r in files.items() if stem.startswith("actor-") and len(r) > 1]
    shares = [_actor_shares(before, after) for before, after in actors]
    for name in sorted({name for each in shares for name in each}):
        values = [each[name] for each in shares if name in each]
        found[f"actor: {name}"] = sum(values) / len(values)
    return found


def _actor_shares(before: Record, after: Record) -> dict[str, float]:
    """Shares of one actor's time between two of its records, by what it did."""
    span = elapsed(before, after)
    if span <= 0:
        return {}
    old, new = numbers(before, "time_in"), numbers(after, "time_in")
    spent = {name: seconds - old.get(name, 0.0) for name, seconds in new.items()}
    shares = {name: min(1.0, s / span) for name, s in spent.items() if s >= 0}
    outside = outside_share(before, after)
    if outside is not None and "losses" in shares:
        shares["network"] = outside * shares["losses"]
        shares["losses"] -= shares["network"]
    return shares
