"""The run of tests/mesh_run.py as a config file, for the command line of a job of processes."""

import pathlib
import sys

import ml_collections

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import mesh_run

from seqgan_jax.checked import to_dict


def get_config():
    return ml_collections.ConfigDict(to_dict(mesh_run.WIDE))
