"""Sequences from files: text and MIDI to token ids and back; NumPy only."""
