"""The loop, and everything that touches a file, a flag or a clock."""
