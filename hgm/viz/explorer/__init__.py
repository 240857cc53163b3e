"""A page on which a reader explores a tree and its network: facts in Python, everything that moves in the page."""
