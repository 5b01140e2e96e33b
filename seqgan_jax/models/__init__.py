"""Models: the only rooms that import Flax."""
