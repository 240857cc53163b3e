"""How far a network is from the optimum."""
