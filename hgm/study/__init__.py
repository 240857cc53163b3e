"""Questions with a number for an answer."""
