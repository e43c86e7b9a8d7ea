"""Manifests: strict schemas of thirteen versions, who may talk to whom, and a run out of the
containers' own commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
schemas = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

from launch.configs import find  # noqa: E402
from launch.fleet import kubernetes  # noqa: E402
from launch.fleet.kubernetes import Cluster, Kubernetes  # noqa: E402
from launch.runners import distributed_missing  # noqa: E402
from optimus.config import ConfigError, Layout, from_dict  # noqa: E402
from tests.launch import fault_tools  # noqa: E402
from tests.launch import run_tools as tools  # noqa: E402

CLUSTER = Cluster("run-1", "registry.example/optimus:1", pods=100)


def _documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(kubernetes.manifests(find("physics-flagship"), CLUSTER)))


def test_nothing_is_left_to_fill_in_and_workers_are_there_where_losses_are_served() -> None:
    for name, kinds in (("physics-flagship", 5), ("smoke", 4)):
        text = kubernetes.manifests(find(name), CLUSTER)
        assert not re.search(r"@\w+@", text)
        assert len(list(yaml.safe_load_all(text))) == kinds


@pytest.mark.parametrize("minor", range(25, 38))
def test_strict_schemas(minor: int) -> None:
    for document in _documents():
        schemas.validate(document, f"1.{minor}", strict=True)


def test_the_schemas_refuse_what_is_wrong() -> None:
    wrong = _documents()[1]
    wrong["spec"]["clusterIp"] = "None"
    with pytest.raises(schemas.ValidationError):
        schemas.validate(wrong, "1.30", strict=True)


def test_the_parts_fit_together() -> None:
    found = {document["kind"]: document for document in _documents()}
    head, workers = found["StatefulSet"], found["Deployment"]
    service, policy = found["Service"], found["NetworkPolicy"]
    pods = {k: d["spec"]["template"] for k, d in (("head", head), ("worker", workers))}
    for role, pod in pods.items():
        labels = pod["metadata"]["labels"]
        owner = head if role == "head" else workers
        assert owner["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        (peer,) = policy["spec"]["ingress"][0]["from"]
        assert peer["podSelector"]["matchLabels"].items() <= labels.items()
        (container,) = pod["spec"]["containers"]
        volumes = {v["name"] for v in pod["spec"]["volumes"]} | {"data"}
        assert {m["name"] for m in container["volumeMounts"]} <= volumes
    assert service["spec"]["selector"].items() <= pods["head"]["metadata"]["labels"].items()
    assert not service["spec"]["selector"].items() <= pods["worker"]["metadata"]["labels"].items()
    assert head["spec"]["serviceName"] == service["metadata"]["name"]
    name = f"{head['metadata']['name']}-0.{service['metadata']['name']}"
    for pod in pods.values():
        assert name in pod["spec"]["containers"][0]["command"][2]
    config = from_dict(json.loads(found["ConfigMap"]["data"]["config.json"]))
    assert config == find("physics-flagship")


def test_files_are_written(tmp_path: Path) -> None:
    wanted = Kubernetes("physics-small", "r/o:1", out=tmp_path / "k8s", wheelhouse=False, pods=0)
    assert wanted.run(print) == 0
    assert len(list(yaml.safe_load_all((tmp_path / "k8s/run.yaml").read_text()))) == 5
    assert (tmp_path / "k8s/image/Dockerfile").read_text().startswith("# The image")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_name": "No"}, "--run No: want"),
        ({"pods": -1}, "--pods -1: want"),
        ({"per_pod": 0}, "--per-pod 0: want"),
        ({"image": "two words"}, "--image two words"),
        ({"image": "-v"}, "--image -v"),
        ({"image": 'i"\n#'}, "--image 'i\"\\n#'"),
        ({"image": "i\r"}, "--image 'i\\r'"),
        ({"run_name": "a\n"}, "--run 'a\\n'"),
        ({"per_pod": 50_000}, "--per-pod 50000: want 1 ... 1024"),
        ({"pods": 10**9}, "--pods 1000000000: want"),
        ({"config": "classical"}, "runs fused"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    values = {"config": "physics-small", "image": "i", "out": tmp_path / "k", **changes}
    with pytest.raises(ConfigError) as caught:
        Kubernetes(**values, wheelhouse=False).run(print)
    assert message in str(caught.value)
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        ("physics-flagship", {"pods": 100}, "401 loss workers,.* 20 would be used, 381 idle"),
        ("physics-flagship", {"pods": 4}, ""),
        ("physics-flagship", {"pods": 5}, "21 loss workers"),
        ("physics-small", {"pods": 9}, ""),
        ("smoke", {"pods": 1000}, ""),  # no loss is served
    ],
)
def test_workers_are_compared_with_lanes(
    tmp_path: Path, config: str, changes: dict[str, Any], message: str
) -> None:
    said: list[str] = []
    wanted = Kubernetes(config, "i", out=tmp_path, wheelhouse=False, **changes)
    assert wanted.run(said.append) == 0
    warnings = [line for line in said if line.startswith("warning")]
    assert len(warnings) == bool(message)
    assert not message or re.search(message, warnings[0])


def test_values_of_a_configuration_stay_in_it() -> None:
    steer = "".join(map(chr, range(160))) + "\u2028\u2029\ufeff\ud83d{{x}} ${x} @name@ @port@ ---\n"
    config = replace(find("physics-small"), initial=steer)
    text = kubernetes.manifests(config, CLUSTER)
    found = {d["kind"]: d for d in yaml.safe_load_all(text)}
    assert len(found) == 5
    assert from_dict(json.loads(found["ConfigMap"]["data"]["config.json"])) == config


def test_another_configuration_restarts_the_head_alone() -> None:
    small, longer = find("physics-small"), replace(find("physics-small"), updates=9999)
    first, again, second = (
        {d["kind"]: d for d in yaml.safe_load_all(kubernetes.manifests(config, CLUSTER))}
        for config in (small, small, longer)
    )
    assert first == again
    assert first["Deployment"] == second["Deployment"]
    pods = [found["StatefulSet"]["spec"]["template"] for found in (first, second)]
    assert pods[0]["metadata"]["annotations"] != pods[1]["metadata"]["annotations"]
    assert pods[0]["spec"] == pods[1]["spec"]


def test_a_head_that_starts_again_is_not_over(tmp_path: Path) -> None:
    """The mark of an earlier end is gone before training begins, and comes with the new end."""
    (found,) = (d for d in _documents() if d["kind"] == "StatefulSet")
    container = found["spec"]["template"]["spec"]["containers"][0]
    data, said = tmp_path / "data", tmp_path / "said"
    data.mkdir()
    over = data / "over"
    over.touch()
    fake = tmp_path / "optimus"
    fake.write_text(
        f"#!/bin/sh\necho $* > {said}.new; mv {said}.new {said}\n"
        f"read end < {tmp_path}/end\nexit $end\n"
    )
    fake.chmod(0o755)
    os.mkfifo(tmp_path / "end")

    def here(words: list[str]) -> list[str]:
        return [word.replace(kubernetes.DATA_DIR, str(data)) for word in words]

    def alive() -> bool:
        probe = here(container["livenessProbe"]["exec"]["command"])
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0

    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "OPTIMUS_CACHE": str(tmp_path)}
    for code in ("0", "0", "1"):
        head = subprocess.Popen(here(container["command"]), env=environment, text=True)
        try:
            tools.wait_until(said.exists, 20.0, "the training begins")
            assert not over.exists() and not alive()
            said.unlink()
            (tmp_path / "end").write_text(f"{code}\n")
            if code == "0":
                tools.wait_until(over.exists, 20.0, "the end of the run")
                assert alive() and head.poll() is None
            else:
                assert head.wait(20) == 1 and not over.exists()
        finally:
            head.terminate()
            head.wait(20)


@pytest.mark.story
@pytest.mark.timeout(240)
@pytest.mark.skipif(distributed_missing() is not None, reason=str(distributed_missing()))
def test_the_containers_commands_make_a_run(tmp_path: Path) -> None:
    """As the kubelet would start them; only names and paths of the cluster are this machine's."""
    layout = Layout(actors=1, groups=2, lanes=3, workers=1, per_process=1, restarts=1000)
    config = fault_tools.config(name="pods", updates=60, layout=layout)
    small = Cluster("pods", "i", pods=1, per_pod=2, port=20800, worker_port=20900)
    found = {d["kind"]: d for d in yaml.safe_load_all(kubernetes.manifests(config, small))}
    folder, data = tmp_path / "config", tmp_path / "data"
    folder.mkdir()
    data.mkdir()
    (folder / "config.json").write_text(found["ConfigMap"]["data"]["config.json"])
    environment = {
        **os.environ,
        "POD_IP": "127.0.0.1",
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
    }

    def start(kind: str) -> subprocess.Popen[str]:
        command = found[kind]["spec"]["template"]["spec"]["containers"][0]["command"]
        for there, here in (
            (small.head, "localhost"),
            (kubernetes.CONFIG_DIR, str(folder)),
            (kubernetes.DATA_DIR, str(data)),
        ):
            command = [word.replace(there, here) for word in command]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    worker, head = start("Deployment"), start("StatefulSet")
    try:
        tools.wait_until((data / "over").exists, 150.0, "the end of the run")
        time.sleep(1.0)
        assert head.poll() is None, "a StatefulSet would start a finished run again"
        assert worker.wait(30) == 0
        joined = [e["workers"] for e in tools.events(data / "run", "coordinator-0", "alive")]
        assert max(joined) == 3
    finally:
        head.terminate()
        worker.terminate()
        worker.communicate(timeout=30)
        text = head.communicate(timeout=30)[0]
    assert head.returncode == 0 and "the run is over" in text
    assert not tools.processes_of(data / "run")


@pytest.mark.parametrize("name", ["null", "on", "true", "no", "y"])
def test_a_name_that_yaml_reads_as_something_else_is_a_name(name: str, tmp_path: Path) -> None:
    said: list[str] = []
    asked = Kubernetes("physics-small", image="x", run_name=name, wheelhouse=False, out=tmp_path)
    assert asked.run(said.append) == 0
    for document in yaml.safe_load_all((tmp_path / "run.yaml").read_text(encoding="utf-8")):
        labels = document["metadata"].get("labels", {})
        assert labels.get("app.kubernetes.io/instance", name) == name
