"""Labels by GPAW, one process per label."""
