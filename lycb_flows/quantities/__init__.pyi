from .base import (
    Quantity as Quantity,
    Scope as Scope,
)
from .plan import (
    Condition as Condition,
    MeasurementPlan as MeasurementPlan,
    by_pressure as by_pressure,
    place_text as place_text,
    temperature_text as temperature_text,
)
from .registry import (
    check_quantities as check_quantities,
    chosen_quantities as chosen_quantities,
    find_quantity as find_quantity,
    missing_quantities as missing_quantities,
    readable_quantities as readable_quantities,
    reported_names as reported_names,
)
from .results import (
    Number as Number,
)
