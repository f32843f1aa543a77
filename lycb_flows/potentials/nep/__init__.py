"""Neuroevolution potentials (NEP4): their text file, torch layers, compiled kernel and native MD.

Fan et al., J. Chem. Phys. 157, 114801 (2022); Song et al., Nat. Commun. 15, 10208 (2024).
"""
