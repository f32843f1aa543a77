"""Potentials: load by name, key or file; predict; train."""
