"""`optimus fleet kubernetes`: manifests and an image's context. docs/fleets-kubernetes.md."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Kubernetes:
    """Write Kubernetes manifests that run a configuration, and what its image is built from.

    Checked against the strict schemas of Kubernetes 1.25 to 1.37, not run on a cluster. Example:

      optimus fleet kubernetes physics-flagship --image REGISTRY/optimus:1 --pods 100 --out k8s
      docker build -t REGISTRY/optimus:1 k8s/image && docker push REGISTRY/optimus:1
      kubectl apply -n NAMESPACE -f k8s/run.yaml
    """

    config: tyro.conf.Positional[str]
    """As for `optimus train`: a name, or the path of a config.json."""
    image: str
    """Name of the image, with registry and tag."""
    out: Path = Path("kubernetes")
    """Folder for run.yaml and image/."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Override one value: --set meta.batch=8 (repeatable)."""
    run_name: Annotated[str | None, tyro.conf.arg(name="run")] = None
    """Name of the run, part of every object's; default: the configuration's."""
    pods: int = 2
    """Pods of workers; `kubectl scale` changes it later."""
    per_pod: int = 4
    """Workers in a pod, one core each."""
    cores: int = 4
    """Of the head's pod."""
    memory: int = 8
    """Of the head's pod, GiB."""
    disk: int = 20
    """For the run directory, GiB."""
    wheelhouse: bool = True
    """Build the wheelhouse into image/; without it only the manifests are written."""

    def run(self, say: Callable[[str], None]) -> int:
        """Writes the files."""
        import yaml

        from launch.configs import find
        from launch.fleet import manifests
        from launch.fleet import wheelhouse as wheelhouses
        from launch.runners import actors_cannot
        from optimus.config import ConfigError, override

        config = override(find(self.config), self.set)
        name = self.run_name or config.name
        if actors_cannot(config):
            raise ConfigError(f"{config.name!r} runs fused, in one process: use optimus train")
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", name):
            raise ConfigError(f"--run {name}: want at most 40 small letters, digits and dashes")
        for flag in ("pods", "per_pod", "cores", "memory", "disk"):
            value = getattr(self, flag)
            if not (0 if flag == "pods" else 1) <= value <= 100_000:
                raise ConfigError(f"--{flag.replace('_', '-')} {value}: want a number of them")
        if not re.fullmatch(r"[\w./:@-]+", self.image):
            raise ConfigError(f"--image {self.image}: not the name of an image")
        cluster = manifests.Cluster(
            name, self.image, self.pods, self.per_pod, self.cores, self.memory, self.disk
        )
        documents = manifests.render(config, cluster)
        text = yaml.safe_dump_all(documents, sort_keys=False, width=100)
        image = self.out / "image"
        try:
            image.mkdir(parents=True, exist_ok=True)
            (self.out / "run.yaml").write_text(f"# made by `optimus fleet kubernetes`\n{text}")
            shutil.copy(Path(__file__).with_name("Dockerfile"), image / "Dockerfile")
            if self.wheelhouse:
                built = wheelhouses.build(wheelhouses.REPOSITORY / "build/fleet", say)
                shutil.copy(built.path, image / "wheelhouse.tar")
        except OSError as error:
            raise ConfigError(f"cannot write into {self.out}: {error.strerror}") from None
        say(f"wrote {self.out / 'run.yaml'} ({len(documents)} objects) and {image}")
        say(f"next: docker build -t {self.image} {image}, push it, and")
        say(f"      kubectl apply -f {self.out / 'run.yaml'}")
        return 0
