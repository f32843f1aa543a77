"""Relaxed crystals: FIRE, the ranking funnel, energies of formation."""
