"""Kubernetes manifests out of a configuration, as plain dictionaries. Checked against the strict
schemas of several versions; not run on a cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from optimus.config import TrainConfig, to_dict

CONFIG_DIR, DATA_DIR, CACHE_DIR = "/etc/optimus", "/data", "/var/cache/optimus"
OVER = f"{DATA_DIR}/over"

# Trains, then waits to be fetched: a StatefulSet would start a finished run again and again.
_HEAD = r"""cp -rn /opt/optimus/cache/. "$OPTIMUS_CACHE" 2>/dev/null
stopped=
optimus train {config}/config.json --run-dir {data}/run --launch local_mp \
    --advertise {address} --port {port} &
train=$!
trap 'stopped=1; kill -TERM $train' TERM INT
wait $train; code=$?
while kill -0 $train 2>/dev/null; do wait $train; code=$?; done
[ -z "$stopped" ] || exit 0
[ $code = 0 ] || exit $code
touch {over}
echo "the run is over; it is in {data}/run"
sleep infinity &
trap 'kill $!; exit 0' TERM INT
wait
"""
_WORKER = """\
cp -rn /opt/optimus/cache/. "$OPTIMUS_CACHE" 2>/dev/null
exec optimus worker --coordinator {coordinator} --count {count} --advertise "$POD_IP" --port {port}
"""


@dataclass(frozen=True)
class Cluster:
    """What the manifests need to know beside the configuration.

    `cores` and `memory_gib` are of the head's pod; a worker's pod has one core per worker.
    """

    name: str
    image: str
    pods: int
    per_pod: int = 4
    cores: int = 4
    memory_gib: int = 8
    disk_gib: int = 20
    port: int = 20100
    worker_port: int = 21000

    @property
    def head(self) -> str:
        """The head's stable name inside the namespace."""
        return f"{self.name}-head-0.{self.name}-head"


def render(config: TrainConfig, cluster: Cluster) -> list[dict[str, Any]]:
    """ConfigMap, headless Service, head StatefulSet, workers' Deployment, NetworkPolicy."""
    documents = [
        _document(
            "v1",
            "ConfigMap",
            cluster,
            "config",
            data={"config.json": json.dumps(to_dict(config), indent=2) + "\n"},
        ),
        _service(cluster),
        _head(config, cluster),
        _policy(cluster),
    ]
    if config.served:
        documents.insert(3, _workers(cluster))
    return documents


def _labels(cluster: Cluster, role: str = "") -> dict[str, str]:
    labels = {"app.kubernetes.io/name": "optimus", "app.kubernetes.io/instance": cluster.name}
    return {**labels, "app.kubernetes.io/component": role} if role else labels


def _document(version: str, kind: str, cluster: Cluster, part: str, **rest: Any) -> dict[str, Any]:
    metadata = {"name": f"{cluster.name}-{part}", "labels": _labels(cluster)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _service(cluster: Cluster) -> dict[str, Any]:
    names = ("coordinator", "learner", "stream")
    ports = [{"name": name, "port": cluster.port + k} for k, name in enumerate(names)]
    return _document(
        "v1",
        "Service",
        cluster,
        "head",
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": _labels(cluster, "head"),
            "ports": ports,
        },
    )


def _pod(
    cluster: Cluster,
    role: str,
    script: str,
    container: dict[str, Any],
    cores: int,
    memory_gib: int,
    **rest: Any,
) -> dict[str, Any]:
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "cache", "mountPath": CACHE_DIR}]
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "cache", "emptyDir": {}}]
    wanted = {"cpu": str(cores), "memory": f"{memory_gib}Gi"}
    return {
        "metadata": {"labels": _labels(cluster, role)},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": role,
                    "image": cluster.image,
                    "command": ["/bin/bash", "-c", script],
                    "env": [
                        {
                            "name": "POD_IP",
                            "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                        },
                        {"name": "HOME", "value": "/tmp"},
                    ],
                    "resources": {"requests": wanted, "limits": {"memory": wanted["memory"]}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    **container,
                    "volumeMounts": mounts + container.get("volumeMounts", []),
                }
            ],
            **rest,
            "volumes": volumes + rest.get("volumes", []),
        },
    }


def _head(config: TrainConfig, cluster: Cluster) -> dict[str, Any]:
    script = _HEAD.format(
        config=CONFIG_DIR, data=DATA_DIR, over=OVER, address=cluster.head, port=cluster.port
    )
    own = config.processes.workers if config.served else 0
    alive = f"test -e {OVER} || exec 3<>/dev/tcp/127.0.0.1/{cluster.port}"
    probe = {"exec": {"command": ["/bin/bash", "-c", alive]}, "periodSeconds": 10}
    container = {
        "ports": [{"containerPort": cluster.port + k} for k in range(3 + own)],
        "startupProbe": {**probe, "failureThreshold": 60},
        "readinessProbe": probe,
        "livenessProbe": {**probe, "timeoutSeconds": 5, "failureThreshold": 12},
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
            {"name": "data", "mountPath": DATA_DIR},
        ],
    }
    volumes = [{"name": "config", "configMap": {"name": f"{cluster.name}-config"}}]
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": f"{cluster.disk_gib}Gi"}},
        },
    }
    return _document(
        "apps/v1",
        "StatefulSet",
        cluster,
        "head",
        spec={
            "serviceName": f"{cluster.name}-head",
            "replicas": 1,
            "selector": {"matchLabels": _labels(cluster, "head")},
            "template": _pod(
                cluster,
                "head",
                script,
                container,
                cluster.cores,
                cluster.memory_gib,
                volumes=volumes,
                terminationGracePeriodSeconds=60,
            ),
            "volumeClaimTemplates": [claim],
        },
    )


def _workers(cluster: Cluster) -> dict[str, Any]:
    script = _WORKER.format(
        coordinator=f"{cluster.head}:{cluster.port}",
        count=cluster.per_pod,
        port=cluster.worker_port,
    )
    probe = {"tcpSocket": {"port": cluster.worker_port}, "periodSeconds": 10}
    container = {
        "ports": [{"containerPort": cluster.worker_port + k} for k in range(cluster.per_pod)],
        # Until the head is up a worker waits for it, at most a minute at a time.
        "startupProbe": {**probe, "failureThreshold": 60},
        "readinessProbe": probe,
        "livenessProbe": {**probe, "timeoutSeconds": 5, "failureThreshold": 6},
    }
    spot = ("cloud.google.com/gke-spot", "cloud.google.com/gke-preemptible")
    affinity = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100 - k,
                    "preference": {
                        "matchExpressions": [{"key": key, "operator": "In", "values": ["true"]}]
                    },
                }
                for k, key in enumerate(spot)
            ]
        }
    }
    tolerations = [
        {"key": key, "operator": "Equal", "value": "true", "effect": "NoSchedule"}
        for key in (*spot, "preemptible")
    ]
    return _document(
        "apps/v1",
        "Deployment",
        cluster,
        "workers",
        spec={
            "replicas": cluster.pods,
            "selector": {"matchLabels": _labels(cluster, "worker")},
            # Nobody waits for a worker: all may be replaced at once.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0},
            },
            "template": _pod(
                cluster,
                "worker",
                script,
                container,
                cluster.per_pod,
                max(2, cluster.per_pod // 2),
                affinity=affinity,
                tolerations=tolerations,
                terminationGracePeriodSeconds=20,
            ),
        },
    )


def _policy(cluster: Cluster) -> dict[str, Any]:
    """Only the run's pods reach each other, and they reach nothing else but the name service."""
    peers = [{"podSelector": {"matchLabels": _labels(cluster)}}]
    names = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return _document(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        cluster,
        "only-itself",
        spec={
            "podSelector": {"matchLabels": _labels(cluster)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers}],
            "egress": [{"to": peers}, {"ports": names}],
        },
    )
