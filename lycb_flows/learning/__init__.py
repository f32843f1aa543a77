"""The learning step: frame selection, training, and errors against labels."""
