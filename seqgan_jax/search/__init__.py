"""Drawing tokens and sequences, Monte Carlo search, rewards."""
