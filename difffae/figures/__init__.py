"""Pictures, tables and the model card of a model: `python -m difffae.figures`."""
