"""What `optimus train` runs (in process, fused, a Launchpad program), and what each cannot."""

import importlib.util
from collections.abc import Callable

from optimus.config import PATHWISE, ClassicalTask, ConfigError, MetaLoss, TrainConfig
from optimus.installation import distributed_command

_PROCESSES = ("actors", "workers", "per_process", "restarts")  # of a layout: started once


def distributed_missing() -> str | None:
    """Why the distributed launch types cannot run here, or None."""
    absent = [name for name in ("launchpad", "reverb") if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    needs = "local_mp and local_mt need CPython 3.10 on x86-64 Linux and the extra [distributed]"
    how = f" ({command})" if (command := distributed_command()) else ""
    return f"{' and '.join(absent)} not installed: {needs}{how}"


def actors_cannot(config: TrainConfig) -> str | None:
    """Why actors and a learner, in whichever processes, cannot run this; None if they can."""
    if isinstance(config.task, ClassicalTask):
        return "task.kind 'classical' needs --launch fused"
    if config.meta_loss != MetaLoss():
        return "meta_loss needs --launch fused"
    if config.weight_average > 0:
        return "weight_average needs --launch fused"
    first = config.processes
    for index, phase in enumerate(config.phases):
        if phase.estimator.kind in PATHWISE and not config.served:
            return f"estimator.kind {phase.estimator.kind!r} needs --launch fused"
        if phase.estimator.shortest:
            return "estimator.shortest needs --launch fused"
        for name in _PROCESSES:
            found, wanted = getattr(phase.layout, name), getattr(first, name)
            if found != wanted:
                got = f"phases.{index}.layout.{name}: got {found}, want {wanted} as in phases.0"
                return f"{got}: processes are started once"
    return None


def inprocess_cannot(config: TrainConfig) -> str | None:
    """Why the in-process runner cannot run this, or None."""
    turns = "synchronous is false, but in process actor and learner take turns"
    how = "use --launch local_mp, or --set synchronous=true"
    return actors_cannot(config) or (None if config.synchronous else f"{turns}; {how}")


def distributed_cannot(config: TrainConfig) -> str | None:
    """Why the Launchpad program cannot run this here, or None."""
    return actors_cannot(config) or distributed_missing()


def fused_cannot(config: TrainConfig) -> str | None:
    """Why the fused trainer cannot run this, or None."""
    if config.served:
        kind = config.task.kind
        return f"task.kind {kind!r} is no loss in JAX, as --launch fused needs; use local_mp"
    if not config.synchronous:
        return "synchronous is false, but a fused update has no samples that could be late"
    return None


CANNOT: dict[str, Callable[[TrainConfig], str | None]] = {
    "inprocess": inprocess_cannot,
    "local_mt": distributed_cannot,
    "local_mp": distributed_cannot,
    "fused": fused_cannot,
}
LAUNCH_TYPES = tuple(CANNOT)
_PREFERRED = ("local_mp", "inprocess", "fused")  # without --launch: the first that can


def default(config: TrainConfig) -> str:
    """The launch type of a run that names none: the first of those preferred that can run it.

    Raises:
      ConfigError: none can; the line says why not, for each.
    """
    problems = {launch: CANNOT[launch](config) for launch in _PREFERRED}
    for launch, problem in problems.items():
        if problem is None:
            return launch
    raise ConfigError("; ".join(f"{launch}: {problem}" for launch, problem in problems.items()))
