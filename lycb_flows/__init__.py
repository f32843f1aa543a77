"""Disordered crystal in, ionic conductivity with an error bar out."""

__version__ = "0.1.0"
