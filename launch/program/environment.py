"""Environment variables of each role, decided before Python imports anything."""

import os
import sysconfig

from optimus.installation import cache_dir

# One thread per XLA program: many roles share a host, and another core count changes rounding.
XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
MOST_DEVICES = 8  # of a fused run on CPUs


def common() -> dict[str, str]:
    """What every runner sets, so that the same program computes the same bits."""
    return {
        "XLA_FLAGS": os.environ.get("OPTIMUS_XLA_FLAGS", XLA_FLAGS),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
        "JAX_COMPILATION_CACHE_DIR": str(cache_dir() / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "GRPC_VERBOSITY": "ERROR",
        "PYTHONUNBUFFERED": "1",
        "no_proxy": "localhost,127.0.0.1",
        "grpc_proxy": "",  # Courier and Reverb must not go by the site's proxy for web pages
    }


def of_role(role: str) -> dict[str, str]:
    """Environment of one role's process in a local run."""
    values = common()
    actors = os.environ.get("OPTIMUS_ACTOR_PLATFORMS")
    if role == "actor" and actors:  # one machine with a GPU: Optimus there, the losses on its cores
        values["JAX_PLATFORMS"] = actors
    elif role != "learner":  # workers and actors keep off the GPU
        values |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    library = str(sysconfig.get_config_var("LIBDIR"))
    inherited = os.environ.get("LD_LIBRARY_PATH")
    values["LD_LIBRARY_PATH"] = f"{library}:{inherited}" if inherited else library
    return values


def apply() -> None:
    """Sets the common variables in this process; call before importing JAX."""
    os.environ.update(common())


def make_devices(count: int) -> None:
    """Has XLA make so many CPU devices in this process; call before JAX computes anything.

    As many as a fused run has groups of lanes, whatever the machine, so that its results do not
    follow from where it runs; but not more than `MOST_DEVICES`, which all hold their lanes in
    memory at once. `OPTIMUS_XLA_FLAGS` wins.
    """
    count = min(count, MOST_DEVICES)
    if count > 1 and "OPTIMUS_XLA_FLAGS" not in os.environ:
        flag = f"--xla_force_host_platform_device_count={count}"
        os.environ["XLA_FLAGS"] = f"{flag} {XLA_FLAGS}"  # after a word without "--" none is read
