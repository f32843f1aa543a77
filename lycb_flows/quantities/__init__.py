"""Measured quantities: what they are, where they are measured, and which are installed."""

from __future__ import annotations

from lycb_flows.quantities.base import Quantity, Scope
from lycb_flows.quantities.plan import (
    Condition,
    MeasurementPlan,
    by_pressure,
    place_text,
    temperature_text,
)
from lycb_flows.quantities.registry import (
    check_quantities,
    chosen_quantities,
    find_quantity,
    missing_quantities,
    readable_quantities,
    reported_names,
)
from lycb_flows.quantities.results import Number

__all__ = [
    "Condition",
    "MeasurementPlan",
    "Number",
    "Quantity",
    "Scope",
    "by_pressure",
    "check_quantities",
    "chosen_quantities",
    "find_quantity",
    "missing_quantities",
    "place_text",
    "readable_quantities",
    "reported_names",
    "temperature_text",
]
