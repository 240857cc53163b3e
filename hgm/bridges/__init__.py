"""Other libraries: trees from their models, and their models from trees."""
