"""Whether a process is one of several, by its flags and its environment; what it then needs."""

import os

import jax
import jaxlib
import pytest

from seqgan_jax.checked import ConfigError
from seqgan_jax.hparams import MeshHParams, ScheduleHParams
from seqgan_jax.training import hosts, sharding
from seqgan_jax.training.hosts import Address

SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "16",
    "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_STEP_NUM_TASKS": "16",
}  # fmt: skip


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No machine of a test asks a server what it is, and what joins leaves no setting behind."""
    monkeypatch.setattr(hosts, "_tpu_workers", lambda: 0)
    monkeypatch.setattr(hosts, "_BARRIER_FLAG", "no_such_flag")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        (SLURM, True),
        # A shell on a node that SLURM has allotted: 16 tasks, of which it is none.
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({k: v for k, v in SLURM.items() if not k.startswith("SLURM_STEP")}, False),
        ({"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1", "OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1", "OMPI_COMM_WORLD_SIZE": "1"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_PROCESS_ADDRESSES": "a:8476,b:8476,c:8476"}, True),
    ],
)
def test_the_environment_says_whether_there_are_others(environment, expected):
    assert hosts.detected(environment) is expected


def test_a_slice_of_several_hosts_is_known_by_its_metadata(monkeypatch):
    monkeypatch.setattr(hosts, "_tpu_workers", lambda: 8)
    assert hosts.detected({})


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (Address("a:1", None, None), "are given together"),
        (Address(None, 2, 0), "are given together"),
        (Address("a", 2, 0), r"--coordinator_address=a: must be HOST:PORT"),
        (Address(":1", 2, 0), r"--coordinator_address=:1: must be HOST:PORT"),
        (Address("a:x", 2, 0), r"--coordinator_address=a:x: must be HOST:PORT"),
        (Address("a:1", 0, 0), r"--num_processes=0: must be at least 1"),
        (Address("a:1", 2, 2), r"--process_id=2: must lie in \[0, 1\], of --num_processes=2"),
        (Address("a:1", 2, -1), r"--process_id=-1: must lie in \[0, 1\]"),
    ],
)
def test_part_of_an_address_is_refused(address, message):
    with pytest.raises(ConfigError, match=message):
        hosts.join(address, {})


def test_what_joins_is_what_was_given_or_found(monkeypatch):
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **kw: asked.append((args, kw)))
    monkeypatch.setattr(jax.config, "update", lambda *args: None)
    hosts.join(Address(None, None, None), {})
    assert not asked
    hosts.join(Address("a:1", 2, 1), SLURM)
    hosts.join(Address(None, None, None), SLURM)
    assert [args for args, _ in asked] == [("a:1", 2, 1), (None, None, None)]
    # What is given is taken; SLURM is not asked.
    assert [kw["cluster_detection_method"] for _, kw in asked] == ["deactivate", None]
    # What was set stays, and the order of collectives is asked for once, where the flag is known.
    given = os.environ["XLA_FLAGS"].split()
    assert given[0] == "--xla_force_host_platform_device_count=1"
    assert len(given) == 1 + jaxlib.__version__.startswith("0.10.")


def test_others_that_do_not_come_are_an_error(monkeypatch):
    def late(*args, **kw):
        raise RuntimeError("DEADLINE_EXCEEDED: barrier timed out")

    monkeypatch.setattr(jax.distributed, "initialize", late)
    monkeypatch.setattr(jax.config, "update", lambda *args: None)
    with pytest.raises(ConfigError, match=r"do not find one another: DEADLINE_EXCEEDED"):
        hosts.join(Address("a:1", 2, 1), {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (MeshHParams(2, 1), r"mesh.data=2: .* needs 2 devices, and there are 1; .* is 1"),
        (MeshHParams(0, 2), r"mesh.model=2: must be one of \[1\] with 1 devices"),
    ],
)
def test_a_mesh_that_the_devices_do_not_make_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        sharding.Layout(settings, 12)


def test_a_batch_or_vocabulary_that_devices_cannot_share_is_refused():
    with pytest.raises(
        ConfigError, match=r"d_batch_size=9: 4 devices .* nearest right value is 8 or 12"
    ):
        sharding.check_batches(4, ScheduleHParams(batch_size=8, d_batch_size=9))
    with pytest.raises(ConfigError, match=r"model=8: does not divide the vocabulary of 12 tokens"):
        sharding.check_vocabulary(8, 12)
