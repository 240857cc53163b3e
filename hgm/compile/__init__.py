"""The compiler: a tree becomes a plan, the plan a network."""
