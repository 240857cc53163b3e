"""What a user holds: `compile`, and the networks that it gives."""
