"""Everything on disk: models, networks, programs for others, checkpoints."""
