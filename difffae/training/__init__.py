"""Training of each part; nothing outside imports this."""
