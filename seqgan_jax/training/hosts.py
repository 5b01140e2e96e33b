"""Several processes as one job: who they are, what they agree on, what becomes of them.

Every process runs the same program on its own devices; process 0 writes. They must make the same
compiled calls in the same order, so that whatever depends on a clock or a file is decided by one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import urllib.request
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from absl import flags
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqgan_jax.checked import ConfigError, UserError

# Seconds without a sign of life after which a process counts as dead, and the job with it.
_HEARTBEAT_SECONDS = 20
_START_SECONDS = 300  # for the last process to join
# What JAX wants to know of SLURM.
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_TPU_METADATA = (
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"
    "worker-network-endpoints"
)

_ORDER_FLAG = "xla_cpu_enable_concurrency_optimized_scheduler"
# Of Orbax: its processes wait for each other by JAX's coordinator, not by programs on their
# devices, which would run beside ours.
_BARRIER_FLAG = "experimental_orbax_use_distributed_barrier"

Result = TypeVar("Result")
Tree = TypeVar("Tree")


class Address(NamedTuple):
    """Where the processes meet, as given on the command line."""

    coordinator: str | None  # HOST:PORT of process 0
    num_processes: int | None
    process_id: int | None


def join(address: Address, environment: Mapping[str, str] | None = None) -> None:
    """Joins the job's other processes, if there are any; before JAX looks at its devices.

    There are where an address is given, or where the environment says so: SLURM, Open MPI, or a TPU
    slice of several hosts.

    Raises:
      ConfigError: part of an address is missing or out of range, or the others do not come.
    """
    environment = os.environ if environment is None else environment
    given = [value is not None for value in address]
    if any(given) and not all(given):
        raise ConfigError(
            "--coordinator_address, --num_processes and --process_id are given together or not at "
            "all"
        )
    if all(given):
        _check(address)
        _initialize(address)
    elif detected(environment):
        _initialize(Address(None, None, None))


def _check(address: Address) -> None:
    number, index = address.num_processes or 0, address.process_id or 0
    host, _, port = (address.coordinator or "").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            f"--coordinator_address={address.coordinator}: must be HOST:PORT of process 0"
        )
    if number < 1:
        raise ConfigError(f"--num_processes={number}: must be at least 1")
    if not 0 <= index < number:
        raise ConfigError(
            f"--process_id={index}: must lie in [0, {number - 1}], of --num_processes={number}"
        )


def detected(environment: Mapping[str, str]) -> bool:
    """Whether the environment is that of one process of several that JAX can find the others of.

    A shell that SLURM has allotted several tasks is none of them; its step has a single one.
    """
    if all(name in environment for name in _SLURM):
        return _number(environment, "SLURM_STEP_NUM_TASKS") > 1
    if "OMPI_MCA_orte_hnp_uri" in environment:
        return _number(environment, "OMPI_COMM_WORLD_SIZE") > 1
    for name in ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES"):  # of Kubernetes
        if name in environment:
            return len(environment[name].split(",")) > 1
    return _tpu_workers() > 1


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isdigit() else 0


def _tpu_workers() -> int:
    """Hosts of the TPU slice that this is one of, by its metadata server; 0 where there is none."""
    if importlib.util.find_spec("libtpu") is None:
        return 0
    request = urllib.request.Request(_TPU_METADATA, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=2.0) as answer:
            return len(answer.read().decode().split(","))
    except OSError:
        return 0


def _initialize(address: Address) -> None:
    # Or SIGTERM would be caught and kept waiting for a call that nothing here makes.
    jax.config.update("jax_enable_preemption_service", False)
    _keep_order()
    if _BARRIER_FLAG in flags.FLAGS:
        flags.FLAGS[_BARRIER_FLAG].value = True
    try:
        jax.distributed.initialize(
            address.coordinator, address.num_processes, address.process_id,
            cluster_detection_method="deactivate" if address.coordinator else None,
            initialization_timeout=_START_SECONDS, heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the processes of this job do not find one another: {error}") from error


def _keep_order() -> None:
    """Has CPUs start collectives that do not depend on each other in one order everywhere.

    Else each process may start them in its own, and gloo takes one for the other (seen of jaxlib
    0.10; others may not know the flag, and abort). It is read when JAX first looks at its devices.
    """
    given = os.environ.get("XLA_FLAGS", "")
    if _ORDER_FLAG not in given and importlib.metadata.version("jaxlib").startswith("0.10."):
        os.environ["XLA_FLAGS"] = f"{given} --{_ORDER_FLAG}=false"


def joined() -> bool:
    """Whether this process has joined others; asks no device."""
    return bool(jax.distributed.is_initialized())


def leave() -> None:
    """Leaves the job, which all its processes do at the same time: none is then missed."""
    if joined():
        jax.distributed.shutdown()


def several() -> bool:
    """Whether the job has more than one process."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this is process 0, which writes what is written once."""
    return jax.process_index() == 0


def agreed(value: int) -> int:
    """What process 0 says."""
    return int(_said(value)[0]) if several() else value


def greatest(value: int) -> int:
    """The greatest of what the processes say."""
    return int(_said(value).max()) if several() else value


def all_say(value: bool) -> bool:
    """Whether every process says so."""
    return bool(_said(value).all()) if several() else value


def _said(value: int) -> np.ndarray:
    """What every process says, once a device; process 0 first."""
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    own = np.full(jax.local_device_count(), value, np.int32)
    spread = jax.make_array_from_process_local_data(
        NamedSharding(mesh, PartitionSpec("devices")), own
    )
    return np.asarray(gathered(spread, mesh))


def gathered(tree: Tree, mesh: Mesh) -> Tree:
    """Arrays of a mesh, whole, in NumPy, in every process.

    All of this process's devices are waited for. On CPUs a device may begin the next program before
    the last has ended, and collectives of two programs at a time mistake each other's messages
    (gloo, jax 0.10): so whoever starts a program that does not depend on the last waits for that.
    """
    whole = jax.jit(_same, out_shardings=NamedSharding(mesh, PartitionSpec()))(tree)
    jax.block_until_ready(whole)
    arrays: Tree = jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0)), whole)
    return arrays


def _same(tree: Tree) -> Tree:
    return tree


def first_alone(action: Callable[[], Result]) -> Result | None:
    """Does something in process 0 while the others wait.

    Returns:
      The action's result; None in the other processes.

    Raises:
      UserError: the action's, in every process, so that none waits for the others forever.
    """
    result, error = None, None
    if is_first():
        try:
            result = action()
        except UserError as found:
            error = found
    failed = agreed(int(error is not None))
    if error is not None:
        raise error
    if failed:
        raise ConfigError("process 0 cannot go on; its own message says why")
    return result


def first_then_others(action: Callable[[], Result]) -> Result:
    """Does something in every process, in process 0 before the others: it may leave them files."""
    result = first_alone(action)
    return result if is_first() and result is not None else action()
