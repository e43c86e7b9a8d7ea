"""Basin hopping: restarts of a descent near the best point, as long as evaluations are left.

Basin hopping (Wales and Doye 1997) without its temperature: the next descent starts at the best
point so far with a few coordinates displaced, so that most of what has been gained is kept, and
the better end counts. How far is taken from the run itself: about as far as the best point is
from x0, since the first descent shows over what distances the function changes. The descent takes
over the L-BFGS memory of the one it starts from, so that a learned step must be as good as that
promises from the start. Under the safeguard every other descent, the first restart among them,
is L-BFGS alone: on some functions its minima are as low and cost half as much (Styblinski-Tang),
on others the learned steps' are lower (Levy), and which it is a single run cannot tell.

Lengths, shares and the rules that abandon a descent were chosen on seeds 7 and 8 of the fair
presets, which no table shows: Styblinski-Tang (N = 10, 20), Rastrigin, Levy, Ackley, Griewank, 32
starts.
"""

from collections.abc import Callable

import numpy as np

from optimus.minimization import safeguard
from optimus.minimization.descent import Descent, End, Limits, Outcome
from optimus.minimization.objective import Objective, Point
from optimus.weights import LearnedOptimizer

SHARE = 0.3  # of the coordinates that a restart displaces
REACH = 1.4  # standard deviation, in root mean squares of what the coordinates have travelled
SPREAD = 2.0  # that is multiplied or divided by so much at most, log-uniformly, at each restart
SHORTEST = 0.1  # least of those, in z: as long as the learned optimizer's first steps
HOPELESS, PATIENCE = 3.0, 3  # times the promised decrease; steps in a row: see `Abandonment`
BACK = 0.01  # of the displacement
FLAT = 4.0 * np.finfo(np.float64).eps  # of |f|


class Run:
    """The descents of one call of `minimize`, in order, and how it ended."""

    def __init__(self) -> None:
        self.descents: list[Descent] = []
        self.end = End(Outcome.LIMIT, "not begun")

    @property
    def lowest(self) -> Descent:
        """The descent that found the best point; the first, where none is finite."""
        return min(self.descents, key=lambda d: d.best.fun if np.isfinite(d.best.fun) else np.inf)

    @property
    def steps(self) -> int:
        """Steps so far; a restart is one."""
        return sum(each.steps for each in self.descents) + len(self.descents) - 1

    @property
    def may_restart(self) -> bool:
        """Whether the last descent came to rest. But for the first, one that fails is no more than
        a bad restart."""
        outcome, later = self.descents[-1].end.outcome, len(self.descents) > 1
        at_rest = outcome in (Outcome.GRADIENT, Outcome.STALLED)
        return at_rest or (outcome == Outcome.NOT_FINITE and later)


class Abandonment:
    """Whether a restart is a better use of the evaluations left than going on with a descent.

    A descent ends where L-BFGS promises less than rounding, rather than by line searches that find
    nothing, a dozen evaluations later. After a restart it is abandoned where it stays above the
    lowest point known by more than three times the decrease that L-BFGS promises, three steps in a
    row, and where it is back there but for a hundredth of the displacement: most end in a worse
    minimum or the old one, and the way there need not be walked to the last digit.
    """

    def __init__(self, lowest: Point | None = None) -> None:
        """`lowest`: the best point of the descents before, if there were any."""
        self._lowest = lowest
        self._hopeless = 0  # steps in a row

    def __call__(self, descent: Descent) -> str | None:
        """Why the descent is not worth going on with, if it is not; asked once for each step."""
        point, lowest = descent.point, self._lowest
        promise = safeguard.promise(descent.pairs, point)
        if promise < FLAT * abs(point.fun):
            return "no decrease to be expected: f is flat to rounding"
        if lowest is None or point.fun < lowest.fun:
            return None
        displacement = np.linalg.norm(descent.first.z - lowest.z)
        if np.linalg.norm(point.z - lowest.z) < BACK * displacement:
            return "back at the lowest point known"
        hopeless = HOPELESS * promise < point.fun - lowest.fun
        self._hopeless = self._hopeless + 1 if hopeless else 0
        return "no lower minimum to be expected" if self._hopeless == PATIENCE else None


def run(
    objective: Objective,
    learned: LearnedOptimizer,
    start: np.ndarray,
    limits: Limits,
    *,
    guarded: bool,
    restarts: int | None,
    seed: int,
    notify: Callable[[Point], None],
) -> Run:
    """A descent and its restarts.

    Args:
      objective: evaluates and counts; needs one evaluation left.
      learned: the model.
      start: x0 in z, which is x / x_scale; float64 [N].
      limits: of the whole run.
      guarded: whether the safeguard is on.
      restarts: how many at most; None: until `limits` or the evaluations end the run.
      seed: of the displacements.
      notify: gets the point after each step, see `Descent.run`.

    Returns:
      The run, at its end.
    """
    found, random = Run(), np.random.default_rng(seed)

    def descend(descent: Descent, z: np.ndarray, made: int, lowest: Point | None) -> None:
        abandoned = Abandonment(lowest) if guarded and restarts != 0 else None
        found.descents.append(descent)
        descent.run(z, limits._replace(made=made), notify, abandoned)

    descend(Descent(objective, learned, guarded), start, 0, None)
    while found.may_restart and (restarts is None or len(found.descents) <= restarts):
        made = found.steps + 1  # with the restart to come
        if made > limits.maxiter:
            found.end = End(Outcome.LIMIT, f"maxiter = {limits.maxiter} steps made")
            return found
        if objective.spent:
            found.end = End(Outcome.LIMIT, f"maxfev = {objective.maxfev} evaluations made")
            return found
        before = found.lowest
        plain = guarded and len(found.descents) % 2 == 1
        restarted = Descent(objective, None if plain else learned, guarded, before.pairs)
        descend(restarted, displaced(random, before.best.z, start), made, before.best)
    found.end = (found.lowest if found.may_restart else found.descents[-1]).end
    return found


def displaced(random: np.random.Generator, best: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Where the next descent starts.

    Args:
      random: is advanced.
      best: lowest point so far, float64 [N], in z, which is x / x_scale.
      start: x0, float64 [N], in z.

    Returns:
      float64 [N], differs from `best` in at least one coordinate.
    """
    chosen = random.random(best.size) < SHARE
    chosen[random.integers(best.size)] = True
    travelled = best - start
    largest = np.max(np.abs(travelled))  # first, since squares of 1e200 overflow
    typical = largest * np.sqrt(np.mean((travelled / largest) ** 2)) if largest else 0.0
    reach = REACH * SPREAD ** random.uniform(-1.0, 1.0) * max(typical, SHORTEST)
    return np.where(chosen, best + reach * random.normal(size=best.size), best)
