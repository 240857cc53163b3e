"""ReLU networks for one matrix: x to log sum exp of a row plus x. One file for each kind, `choose` has them all."""
