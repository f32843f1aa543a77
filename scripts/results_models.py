"""The paper's claims on models beside each other: pretrained, fine-tuned, and SevenNet.

>>> for claim in claims_on_models(campaigns):
...     print(claim.claim, claim.here, claim.verdict)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from results_claims import (
    CRYSTALS,
    DECISIVE,
    LOW_BAR,
    TEACHER,
    Claim,
    barrier,
    fits_of,
    log_ratio,
    place,
    times,
)

from lycb_flows.campaign.results import CampaignResults
from lycb_flows.report import paper_numbers
from lycb_flows.schemas import CellVolumes, ModelVolumes, Transport

State = tuple[str, float, float]
"""System, pressure in bar, temperature in K."""
PAPERS_SEVENNET = "SevenNet-MF-ompa"
COLD_K = 500.0
"""Above it the paper's pretrained model fails."""
COMPARED_K = (300.0, 600.0)
AGREED_PERCENT = 1.0
"""Between the volumes of the paper's fine-tuned CHGNet and of SevenNet."""


def claims_on_models(campaigns: Sequence[CampaignResults]) -> Iterator[Claim]:
    """Yield the claims that several models' runs speak of.

    Parameters
    ----------
    campaigns
        Their documents; the first has measured both crystals by a fine-tuned model. Another one
        that did is SevenNet's without fine-tuning.
    """
    for found in campaigns:
        compared = [each for each in found.documents(CellVolumes) if each.by_model]
        if compared:
            yield from stability_by_model(compared)
    for found in campaigns[1:]:
        if ("LYC", LOW_BAR) in fits_of(found):
            yield from by_sevennet(campaigns[0], found)
            others = [each for each in campaigns if each is not found]
            yield from volumes_beside_sevennet(others, found)


def stability_by_model(documents: Sequence[CellVolumes]) -> Iterator[Claim]:
    """Yield whether NpT runs by the fine-tuned and the pretrained model stayed crystals."""
    names = [each.name for each in documents[0].by_model]
    for i, name in enumerate(names):
        runs = {document.system: document.by_model[i] for document in documents}
        text = "; ".join(f"{system}: {lost_and_kept(model)}" for system, model in runs.items())
        hot = [
            cell.volume_ang3_per_atom is None
            for model in runs.values()
            for cell in model.cells
            if cell.temperature_k > COLD_K or i == 0
        ]
        if i == 0:
            verdict = "contradicted" if any(hot) else "reproduced"
            claim = f"NpT of CHGNet fine-tuned on PBE ({name}) is stable to 800 K"
        else:
            verdict = "reproduced" if all(hot) else "in part" if any(hot) else "contradicted"
            claim = f"NpT of the pretrained model ({name}) fails above {COLD_K:g} K"
        yield Claim(claim, "yes", text, verdict)


def lost_and_kept(model: ModelVolumes) -> str:
    """Return the volumes by temperature, and where runs left physics."""
    texts = []
    for cell in model.cells:
        volume = cell.volume_ang3_per_atom
        found = "left physics" if volume is None else f"{volume:.1f} Å³/atom"
        texts.append(f"{cell.temperature_k:g} K {found}")
    return ", ".join(texts)


def by_sevennet(tuned: CampaignResults, pretrained: CampaignResults) -> Iterator[Claim]:
    """Yield the claims on SevenNet, and on how the fine-tuned model compares with it."""
    numbers = paper_numbers()
    here, theirs = fits_of(pretrained), fits_of(tuned)
    for system in CRYSTALS:
        rows = numbers["transport"][system]
        for claim in barrier(here[system, LOW_BAR], rows["SevenNet_1bar"]):
            paper = f"{claim.paper} ({PAPERS_SEVENNET})"
            yield replace(claim, claim=f"{claim.claim} by SevenNet-0", paper=paper)
        paper = rows["CHGNet600K_1bar"]["sigma300_mS_cm"] / rows["SevenNet_1bar"]["sigma300_mS_cm"]
        ratio = log_ratio(theirs[system, LOW_BAR], here[system, LOW_BAR])
        verdict = "not resolved"
        if ratio is not None:
            is_near = abs(ratio.value - math.log(paper)) <= DECISIVE * ratio.error
            verdict = "reproduced" if is_near else "contradicted"
        yield Claim(
            f"σ(300 K) of {system} at 1 bar, fine-tuned over SevenNet",
            f"{paper:.1f} times",
            times(ratio),
            verdict,
        )


def volumes_beside_sevennet(
    others: Sequence[CampaignResults], sevennet: CampaignResults
) -> Iterator[Claim]:
    """Yield how far the fine-tuned models' volumes at 1 bar are from SevenNet-0's."""
    theirs = mean_volumes(sevennet)
    for found in others:
        compared = [each.by_model[0].name for each in found.documents(CellVolumes) if each.by_model]
        model = compared[0] if compared else f"student of {TEACHER}"
        here = mean_volumes(found)
        for where in itertools.product(CRYSTALS, (LOW_BAR,), COMPARED_K):
            if where in here and where in theirs:
                change = 100 * (here[where] / theirs[where] - 1)
                yield Claim(
                    f"V of {where[0]} at {where[2]:g} K and 1 bar by {model} within "
                    f"{AGREED_PERCENT:g} % of SevenNet-0's",
                    "yes, CHGNet",
                    f"{here[where]:.2f} against {theirs[where]:.2f} Å³/atom ({change:+.1f} %)",
                    "reproduced" if abs(change) <= AGREED_PERCENT else "contradicted",
                )


def mean_volumes(found: CampaignResults) -> dict[State, float]:
    """Return mean volumes in Å^3 per atom by system, pressure in bar and temperature in K."""
    volumes = {
        (document.system, document.pressure_bar, cell.temperature_k): cell.volume_ang3_per_atom
        for document in found.documents(CellVolumes)
        for cell in document.cells
        if cell.volume_ang3_per_atom is not None
    }
    return volumes | {place(t): t.volume_ang3_per_atom for t in found.documents(Transport)}
