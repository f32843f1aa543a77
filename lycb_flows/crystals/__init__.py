"""Crystals in: disordered parents, binaries, and the enumeration of orderings."""
