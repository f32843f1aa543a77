"""Levels of theory and the labelers that compute at them."""
