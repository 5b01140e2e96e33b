"""Training methods: pure functions over the training state."""
