"""Students: small potentials trained on what another one says, and how far they may be trusted."""
