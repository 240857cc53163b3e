"""What results are held against. Nothing here imports hgm but `trees` and `case_files`, which make the models."""
