"""Benchmarks: every phase beside the machine's limit and a plain reference, in one process."""
