"""The kinds of stage: `general` computes every stage by levels, the others some of them faster."""
