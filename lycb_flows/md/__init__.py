"""Molecular dynamics: integrators, protocol, trajectory, health."""
