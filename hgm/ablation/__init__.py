"""What an architecture is worth: the best that is possible with one thing missing, exactly and without training."""
