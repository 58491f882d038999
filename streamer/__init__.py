"""Moves frames between files, cameras and the model; sees the model only through its engine."""
