"""`optimus fleet kubernetes`: manifests and an image's context. docs/how-to/kubernetes.md."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from launch import Say, command
from launch.fleet import compare_workers, configuration, fill, require_match, usable_workers
from optimus.errors import require
from optimus.files import refused

if TYPE_CHECKING:
    from optimus.config import TrainConfig


CONFIG_DIR, DATA_DIR, CACHE_DIR = "/etc/optimus", "/data", "/var/cache/optimus"
_TEMPLATE = Path(__file__).with_name("manifests.yaml")
_NAME = ("[a-z]([a-z0-9-]{0,38}[a-z0-9])?", "at most 40 small letters, digits and dashes")
_IMAGE = ("[A-Za-z0-9][A-Za-z0-9_./:@-]*", "the name of an image")


@dataclass(frozen=True)
class Cluster:
    """What the manifests need to know beside the configuration.

    `cores` and `memory` (GiB) are of the head's pod, `disk` (GiB) is for the run directory; a
    worker's pod has one core per worker.
    """

    name: str
    image: str
    pods: int
    per_pod: int = 4
    cores: int = 4
    memory: int = 8
    disk: int = 20
    port: int = 20100
    worker_port: int = 21000

    @property
    def head(self) -> str:
        """The head's stable name inside the namespace."""
        return f"{self.name}-head-0.{self.name}-head"


def manifests(config: TrainConfig, cluster: Cluster) -> str:
    """ConfigMap, headless Service, head StatefulSet, workers' Deployment (where losses are served)
    and NetworkPolicy, as YAML."""
    from optimus.config import to_dict

    def ports(first: int, count: int) -> str:
        return json.dumps([{"containerPort": first + k} for k in range(count)])

    text = json.dumps(to_dict(config), indent=2) + "\n"
    names = ("coordinator", "learner", "stream")
    own = config.processes.workers if config.served else 0
    services = [{"name": name, "port": cluster.port + k} for k, name in enumerate(names)]
    folders = {"config_dir": CONFIG_DIR, "data": DATA_DIR, "cache": CACHE_DIR}
    values = {
        **vars(cluster),
        **folders,
        "head": cluster.head,
        "config": json.dumps(text),  # JSON is YAML
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "service_ports": json.dumps(services),
        "head_ports": ports(cluster.port, len(names) + own),
        "worker_ports": ports(cluster.worker_port, cluster.per_pod),
        "worker_memory": max(2, cluster.per_pod // 2),
    }
    documents = _TEMPLATE.read_text(encoding="utf-8").split("\n---\n")
    wanted = (each for each in documents if config.served or "kind: Deployment" not in each)
    return fill("\n---\n".join(wanted), values)


@dataclass(frozen=True)
class Kubernetes:
    """Write Kubernetes manifests that run a configuration, and what its image is built from.

    Checked against the strict schemas of Kubernetes 1.25 to 1.37, not run on a cluster. Example:

      optimus fleet kubernetes physics-flagship --image REGISTRY/optimus:1 --pods 4 --out k8s
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

    def run(self, say: Say) -> int:
        """Writes the files."""
        from launch.fleet import wheelhouse
        from optimus.rundir.checkpoint import write_atomically

        config = configuration(self.config, self.set)
        name = self.run_name or config.name
        require_match(_NAME, name, "--run")
        require_match(_IMAGE, self.image, "--image")
        for flag in ("pods", "per_pod", "cores", "memory", "disk"):
            value, words = getattr(self, flag), f"--{flag.replace('_', '-')}"
            least, most = int(flag != "pods"), 1024 if flag in ("per_pod", "cores") else 100_000
            require(least <= value <= most, f"{words} {value}: want {least} ... {most}")
        size = (self.pods, self.per_pod, self.cores, self.memory, self.disk)
        cluster = Cluster(name, self.image, *size)
        image = self.out / "image"
        try:
            image.mkdir(parents=True, exist_ok=True)
            write_atomically(self.out / "run.yaml", manifests(config, cluster))
            shutil.copy(Path(__file__).with_name("Dockerfile"), image / "Dockerfile")
            if self.wheelhouse:
                built = wheelhouse.build(wheelhouse.REPOSITORY / "build/fleet", say)
                shutil.copy(built.path, image / "wheelhouse.tar")
        except OSError as error:
            raise refused(self.out, error) from None
        own, others = config.processes.workers, self.pods * self.per_pod
        compare_workers(own + others, usable_workers(config), say)
        say(f"wrote {self.out / 'run.yaml'} and {image}")
        say(f"next: {command('docker', 'build', '-t', self.image, image)}, push it, and")
        say(f"      {command('kubectl', 'apply', '-f', self.out / 'run.yaml')}")
        return 0
