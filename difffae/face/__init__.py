"""Pixels to face parameters to the rendered condition; knows nothing of diffusion."""
