"""The paper's claims on conduction over x in C2, beside what is found here.

>>> for claim in claims_over_x([each.found for each in campaigns]):
...     print(claim.claim, claim.here, claim.verdict)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from results_claims import barrier_by_recipe, conductivity_by_recipe, sigma_of_fit
from results_values import CONTRADICTED, NOT_RESOLVED, REPRODUCED, Claim, Value, of_number

from lycb_flows.campaign.results import CampaignResults
from lycb_flows.report import paper_numbers
from lycb_flows.schemas import Arrhenius, CompositionSeries


def claims_over_x(campaigns: Sequence[CampaignResults]) -> Iterator[Claim]:
    """Yield the claims on every series with conductivities.

    Parameters
    ----------
    campaigns
        Their documents.
    """
    for found in campaigns:
        by_key = {fit.key: fit for fit in found.documents(Arrhenius)}
        for series in found.documents(CompositionSeries):
            over_x = {p.x: by_key[p.conduction[0].arrhenius] for p in series.points if p.conduction}
            if over_x:
                yield from conduction_over_x(over_x)


def conduction_over_x(fits: Mapping[float, Arrhenius]) -> Iterator[Claim]:
    """Yield how conductivity and barrier change with x in C2 at 10 kbar, by the paper's recipe."""
    plateau = paper_numbers()["transport"]["LYCB_C2"]["sigma300_plateau_mS_cm_x5_to_6"]
    barriers = {x: barrier_by_recipe(fit) for x, fit in fits.items()}
    if None in barriers.values():
        names = ", ".join(f"{x:g}" for x, found in barriers.items() if found is None)
        yield Claim("σ(300 K) and E_A of C2 over x", "", f"none at x = {names}", NOT_RESOLVED)
        return
    sigma = {x: conductivity_by_recipe(fit) for x, fit in fits.items()}
    at_five, same = sigma[5.0], sigma[5.0] / sigma[6.0]
    yield Claim(
        "σ(300 K) of C2 at x = 5, 10 kbar",
        f"around {plateau} mS/cm",
        f"{at_five} mS/cm; our fit {sigma_of_fit(fits[5.0])}",
        at_five.as_paper(of_number(plateau)),
        at_five.distance(of_number(plateau)),
    )
    yield Claim(
        "σ(300 K) of C2 at x = 5 within a factor of 2 of that at x = 6, 10 kbar",
        "the same",
        f"{same} times",
        same.log.is_within(math.log(2)),
    )
    falling = sorted((x for x in fits if x <= 5.0), reverse=True)  # noqa: PLR2004 - from x = 5 on
    yield Claim(
        "σ(300 K) of C2 rises monotonically from x = 5 to x = 3, 10 kbar",
        "yes",
        "; ".join(f"x = {x:g}: {sigma[x]} mS/cm" for x in falling),
        in_turn([(sigma[after] / sigma[x]).log for x, after in pairwise(falling)]),
    )
    yield Claim(
        "E_A of C2 falls monotonically from x = 5 to x = 3, 10 kbar",
        "yes",
        "; ".join(f"x = {x:g}: {barriers[x]} eV" for x in falling),
        in_turn([barriers[x] - barriers[after] for x, after in pairwise(falling)]),
    )


def in_turn(steps: Sequence[Value]) -> str:
    """Return the verdict on a claim that all steps are above zero."""
    verdicts = {step.is_above(0.0) for step in steps}
    if CONTRADICTED in verdicts:
        return CONTRADICTED
    return NOT_RESOLVED if NOT_RESOLVED in verdicts else REPRODUCED
