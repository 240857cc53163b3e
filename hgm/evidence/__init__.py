"""What was seen, as log likelihoods: by name, as data, through a channel."""
