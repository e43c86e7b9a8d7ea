"""`optimus export`: a checkpoint as weights that can be shipped, with a card that says what it is.

The card is what `optimus.weights.card` says of the run, and with it which checkpoint it was (its
sha256, its code), and how it was judged.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from launch import Say, command
from optimus.errors import ConfigError
from optimus.files import read_json


@dataclass(frozen=True)
class Export:
    """Turn a checkpoint into weights and card: NAME.safetensors and NAME.json.

    The files need no run directory: optimus.load, optimus.as_optax and every
    command that takes weights read it. Examples:

      optimus export runs/classical mine.safetensors
      optimus export runs/physics-small/checkpoints/300 weights/physics --what "walks, 0.25 s"
    """

    checkpoint: tyro.conf.Positional[str]
    """A checkpoint folder of a run, or a run directory (its best checkpoint, else its newest)."""
    out: tyro.conf.Positional[Path]
    """NAME.safetensors, or a folder, which gets weights.safetensors and weights.json."""
    what: str = ""
    """A sentence for the card: what these weights are."""
    force: bool = False
    """Replace what is there."""

    def run(self, say: Say) -> int:
        """Exit code; `WeightsError`, `CheckpointError`, `ConfigError`: one clear line."""
        from launch.cli.evaluate import load
        from optimus import weights

        target, model = load(self.checkpoint)
        if target.run_dir is None or target.step is None:
            want = "RUN/checkpoints/STEP beside RUN/config.json, or RUN"
            raise weights.WeightsError(f"{self.checkpoint} is no checkpoint of a run: want {want}")
        written = weights.card_path(self.out)
        taken = [path for path in (written, written.with_suffix(".safetensors")) if path.exists()]
        if taken and not self.force:
            raise weights.WeightsError(f"{taken[0]} exists; --force replaces it")
        if taken and not _is_card(written):
            raise weights.WeightsError(
                f"{taken[0]} exists and is of no weights: choose another name"
            )
        what = self.what.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        card = card_of(target.run_dir, target.step, what)
        path = weights.save(self.out, model.config, model.params, card)
        again = weights.load(path)  # what is shipped is what was read back
        if again.fingerprint != model.fingerprint:
            raise weights.WeightsError(f"{path} reads back as other weights than {target.name}")
        size = path.stat().st_size
        where = f"update {target.step} of {target.run_dir}"
        say(f"wrote {path} ({size:,} bytes) and {written}: {where}")
        code = f'import optimus; print(optimus.load({json.dumps(str(path))}).card["what"])'
        say(f"next: {command('python', '-c', code)}")
        return 0


def _is_card(path: Path) -> bool:
    try:
        return "architecture" in read_json(path)
    except (ConfigError, TypeError):
        return False


def card_of(run_dir: Path, step: int, what: str = "") -> dict[str, Any]:
    """The card of one checkpoint of a run, for `weights.save`."""
    from launch.evaluation import records
    from optimus.rundir import checkpoint
    from optimus.weights import card as weights_card

    card = weights_card.card_of_run(run_dir, what=what, step=step)
    manifest = checkpoint.read_manifest(run_dir / "checkpoints" / str(step))
    known = ("step", "sha256", "time", "code", "run_id")
    card["checkpoint"] = {key: manifest[key] for key in known if key in manifest}
    path = run_dir / "checkpoints" / str(step)
    mine = (record for record in records.evaluations(run_dir) if record["step"] == step)
    judged = [record for record in mine if records.is_of(record, path)]
    if judged:
        skipped = ("kind", "format", "step", "sha256", "skipped")
        card["judged"] = {k: v for k, v in judged[-1].items() if k not in skipped}
    return card
