"""The paper's claims on stable runs and on volumes: pretrained, fine-tuned, and SevenNet.

>>> for claim in claims_on_cells([each.found for each in campaigns]):
...     print(claim.claim, claim.here, claim.verdict)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from results_claims import (
    CRYSTALS,
    LOW_BAR,
    PAPER_ROWS,
    PAPERS_SEVENNET,
    STUDENT_OF_SEVENNET,
    State,
    fits_of,
    place,
    printed_pressure,
)
from results_orderings import TEACHER
from results_values import CONTRADICTED, REPRODUCED, Claim, Value

from lycb_flows.campaign.results import CampaignResults
from lycb_flows.report import paper_numbers
from lycb_flows.schemas import CellVolumes, ModelVolumes, Transport

STUDENT = f"the student of {TEACHER}"
COLD_K = 500.0
"""Above it several runs of the paper's pretrained model failed."""
SAME_PERCENT = 1.0
"""Between volumes that are taken for the same: what the paper states beside SevenNet's."""


def claims_on_cells(campaigns: Sequence[CampaignResults]) -> Iterator[Claim]:
    """Yield the claims on what stays a crystal, then those on volumes.

    Parameters
    ----------
    campaigns
        Their documents; the first has measured both crystals by a fine-tuned model. Another one
        that did is SevenNet's without fine-tuning.
    """
    yield stability(campaigns[0].documents(Transport))
    compared = {}
    for found in campaigns:
        by_model = [each for each in found.documents(CellVolumes) if each.by_model]
        compared[id(found)] = by_model[0].by_model[0].name if by_model else STUDENT
        if by_model and is_repeated(found):
            yield from stability_by_model(by_model)
    for found in campaigns:
        if found is campaigns[0] or ("LYC", LOW_BAR) not in fits_of(found):
            yield from as_in_paper(compared[id(found)], mean_volumes(found))
    for sevennet in campaigns[1:]:
        if ("LYC", LOW_BAR) in fits_of(sevennet):
            for found in campaigns:
                if found is not sevennet:
                    model = compared[id(found)]
                    yield from beside_sevennet(model, mean_volumes(found), mean_volumes(sevennet))


# -- stability -------------------------------------------------------------------------------------


def stability(transports: Sequence[Transport]) -> Claim:
    """Return whether the production runs stayed crystals."""
    lost = Counter(title(t) for t in transports if not t.healthy)
    hottest_k = max(t.temperature_k for t in transports)
    n, n_lost = len(transports), lost.total()
    text = f"{n - n_lost} of {n} runs of {STUDENT}"
    if lost:
        text += ", not " + ", ".join(
            f"{where} ({n_there} times)" if n_there > 1 else where
            for where, n_there in lost.items()
        )
    return Claim(
        f"2 ns of NVT by the fine-tuned model to {hottest_k:g} K stay crystals",
        "yes, CHGNet",
        text,
        CONTRADICTED if lost else REPRODUCED,
    )


def title(transport: Transport) -> str:
    """Return where a transport was measured."""
    system, pressure_bar, temperature_k = place(transport)
    return f"{system} at {printed_pressure(pressure_bar)} and {temperature_k:g} K"


def is_repeated(found: CampaignResults) -> bool:
    """Return whether a campaign runs in cells of many unit cells.

    In small ones a framework is lost early, which says nothing of a crystal.
    """
    plan = found.measurement
    return plan is not None and all(math.prod(s.repeat or (1,)) > 1 for s in plan.campaign.systems)


def stability_by_model(documents: Sequence[CellVolumes]) -> Iterator[Claim]:
    """Yield whether NpT runs by the fine-tuned and the pretrained model stayed crystals."""
    names = [each.name for each in documents[0].by_model]
    for i, name in enumerate(names):
        runs = {document.system: document.by_model[i] for document in documents}
        text = "; ".join(f"{system}: {lost_and_kept(model)}" for system, model in runs.items())
        lost = [
            cell.volume_ang3_per_atom is None
            for model in runs.values()
            for cell in model.cells
            if cell.temperature_k > COLD_K or i == 0
        ]
        claim = f"NpT of CHGNet fine-tuned on PBE ({name}) is stable to 800 K"
        agrees = not any(lost)
        if i > 0:
            claim = f"NpT runs of the pretrained model ({name}) fail above {COLD_K:g} K"
            agrees = any(lost)
        yield Claim(
            claim, "yes" if i == 0 else "several", text, REPRODUCED if agrees else CONTRADICTED
        )


def lost_and_kept(model: ModelVolumes) -> str:
    """Return the volumes by temperature, and where runs left physics."""
    texts = []
    for cell in model.cells:
        volume = cell.volume_ang3_per_atom
        found = "left physics" if volume is None else f"{volume:.1f} Å³/atom"
        texts.append(f"{cell.temperature_k:g} K {found}")
    return ", ".join(texts)


# -- volumes ---------------------------------------------------------------------------------------


def mean_volumes(found: CampaignResults) -> dict[State, Value]:
    """Return mean volumes in Å^3 per atom whose errors are known."""
    return {
        (document.system, document.pressure_bar, cell.temperature_k): Value(
            cell.volume_ang3_per_atom, cell.volume_err_ang3_per_atom
        )
        for document in found.documents(CellVolumes)
        for cell in document.cells
        if cell.volume_ang3_per_atom is not None and cell.volume_err_ang3_per_atom is not None
    }


def of_crystals(volumes: Mapping[State, Value]) -> list[tuple[State, Value]]:
    """Return the volumes of both crystals, in the paper's order, by pressure and temperature."""
    chosen = [item for item in volumes.items() if item[0][0] in CRYSTALS]
    return sorted(chosen, key=lambda item: (CRYSTALS.index(item[0][0]), *item[0][1:]))


def as_in_paper(model: str, volumes: Mapping[State, Value]) -> Iterator[Claim]:
    """Yield a model's volumes beside those of the paper's fine-tuned model, and of experiments."""
    numbers = paper_numbers()["volumes_A3_per_atom"]
    limit = float(numbers["claims"]["ft_vs_exp_pct_max"])
    columns = dict(PAPER_ROWS)
    for (system, pressure_bar, temperature_k), here in of_crystals(volumes):
        rows, k = numbers[system], int(temperature_k)
        paper = rows[columns[pressure_bar]].get(k)
        if paper is None:
            continue
        where = f"V of {system} at {k} K and {printed_pressure(pressure_bar)}"
        found = mean_of_experiments(rows, k)
        change = percent(here, Value(paper))
        yield Claim(
            f"{where} by {model}, within {SAME_PERCENT:g} % of the paper's",
            f"{paper} Å³/atom",
            f"{here} Å³/atom ({change.value:+.1f} %)",
            change.is_within(SAME_PERCENT),
            experiment="" if found is None else f"{found:.1f} Å³/atom",
        )
        if found is not None:
            change = percent(here, Value(found))
            yield Claim(
                f"{where} by {model}, within {limit:g} % of experiment",
                f"{percent(Value(paper), Value(found)).value:+.1f} %",
                f"{change.value:+.1f} %",
                change.is_within(limit),
                experiment=f"{found:.1f} Å³/atom",
            )


def mean_of_experiments(
    rows: Mapping[str, Mapping[int, float]], temperature_k: int
) -> float | None:
    """Return the mean of the volumes that experiments have at a temperature, in Å^3 per atom."""
    found = [
        row[temperature_k] for name, row in rows.items() if "exp" in name and temperature_k in row
    ]
    return sum(found) / len(found) if found else None


def beside_sevennet(
    model: str, volumes: Mapping[State, Value], sevennet: Mapping[State, Value]
) -> Iterator[Claim]:
    """Yield how far a fine-tuned model's volumes at 1 bar are from SevenNet-0's student's."""
    numbers = paper_numbers()["volumes_A3_per_atom"]
    for where, here in of_crystals(volumes):
        if where not in sevennet or where[1] != LOW_BAR:
            continue
        system, _, temperature_k = where
        rows, k = numbers[system], int(temperature_k)
        papers = [rows[name].get(k) for name in ("CHGNet600K_1bar", "SevenNet_1bar")]
        printed = "yes"
        if None not in papers:
            printed = f"{percent(*map(Value, papers)).value:+.1f} % ({PAPERS_SEVENNET})"
        theirs = sevennet[where]
        change = percent(here, theirs)
        name = f"V of {system} at {k} K and 1 bar by {model}"
        yield Claim(
            f"{name}, within {SAME_PERCENT:g} % of {STUDENT_OF_SEVENNET}",
            printed,
            f"{here} against {theirs} Å³/atom ({change.value:+.1f} %)",
            change.is_within(SAME_PERCENT),
        )


def percent(here: Value, other: Value) -> Value:
    """Return how much larger a number is than another one, in percent."""
    ratio = here.value / other.value
    spread = abs(ratio) * ((here.error / here.value) ** 2 + (other.error / other.value) ** 2) ** 0.5
    return Value(100 * (ratio - 1), 100 * spread)
