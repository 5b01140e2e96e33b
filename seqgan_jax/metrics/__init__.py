"""Metrics on token ids, usable without the trainer."""
