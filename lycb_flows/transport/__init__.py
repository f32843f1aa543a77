"""Trajectories to transport: displacements, diffusivities, Arrhenius fits."""
