"""Measures what this machine makes of the product: `python -m streamer.bench COMMAND --help`."""
