"""A tree becomes a plan, the plan becomes stages of exact layers."""
