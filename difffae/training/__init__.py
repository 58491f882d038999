"""Training: one file per stage, and the loop they share."""
