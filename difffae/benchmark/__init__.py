"""Measures what the model costs on this machine: `python -m difffae.benchmark COMMAND --help`."""
