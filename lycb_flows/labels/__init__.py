"""Levels of theory and the labelers that compute at them."""

from __future__ import annotations

from lycb_flows.labels.engine import engine_of, find_engine, is_dft
from lycb_flows.labels.logs import KeepsLogs
from lycb_flows.labels.theory import Labeler, Theory, code_of, vasp_theory

__all__ = [
    "KeepsLogs",
    "Labeler",
    "Theory",
    "code_of",
    "engine_of",
    "find_engine",
    "is_dft",
    "vasp_theory",
]
