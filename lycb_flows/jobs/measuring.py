"""The job that measures a quantity."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import Maker

from lycb_flows.jobs.resources import open_store, static_job
from lycb_flows.quantities import Condition, MeasurementPlan, find_quantity
from lycb_flows.schemas import Produced


@dataclass(kw_only=True)
class QuantityMaker(Maker):
    """One quantity at one condition.

    Attributes
    ----------
    quantity
        Its name in `measure.quantities`.
    plan
        The measurement.
    condition
        Where it is measured.
    """

    name: str = "measure"
    quantity: str
    plan: MeasurementPlan
    condition: Condition

    @static_job
    def make(self, after: object = None) -> Produced:
        """Return the key of the quantity's document; `after` only orders the jobs."""
        del after
        store, quantity = open_store(), find_quantity(self.quantity)
        key = quantity.key(self.plan, self.condition)
        store.once(
            quantity.document,
            key,
            lambda: quantity.compute(store, self.plan, self.condition),
            self.name,
        )
        quantity.make_further(store, self.plan, self.condition)
        return Produced(kind=quantity.document.kind, keys=(key,))
