"""What results are held against. Nothing here imports hgm but `trees`, which makes the models."""
