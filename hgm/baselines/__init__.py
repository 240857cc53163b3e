"""Networks of every kind, to hold against the optimum, by name: of equal parameters or equal compute."""
