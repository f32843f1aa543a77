"""Labels that others made: reading them, and finding their level of theory."""
