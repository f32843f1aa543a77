"""The paper's claims on energies of orderings and of both lattices, beside what is found here.

>>> for claim in claims_on_energies([each.found for each in campaigns], labelled):
...     print(claim.claim, claim.here, claim.verdict)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from ase import Atoms
from results_claims import CRYSTALS
from results_values import CONTRADICTED, DECISIVE, NOT_RESOLVED, REPRODUCED, Claim, Value
from scipy.stats import spearmanr

from lycb_flows.campaign.results import CampaignResults
from lycb_flows.report import paper_numbers, probability
from lycb_flows.schemas import CompositionSeries, GroundState
from lycb_flows.units import EV_MEV

SIGNIFICANT = 0.05
"""Probability of a rank correlation by chance, below which it is one."""
TEACHER = "lycb-pbe-1-sevennet"
RANKS_IN_PAPER = "M3GNet ranks, its 20 best go to DFT"


def claims_on_energies(
    campaigns: Sequence[CampaignResults], labelled: Sequence[Atoms]
) -> Iterator[Claim]:
    """Yield the claims on lattices, then those on rankings.

    Parameters
    ----------
    campaigns
        Their documents.
    labelled
        Relaxed orderings with DFT's energies (`relaxed_labels.py`).
    """
    for found in campaigns:
        for series in found.documents(CompositionSeries):
            if series.differences:
                yield from lattices(series, error_of_difference_mev(labelled))
    yield from lattices_by_dft(labelled)
    for found in campaigns:
        yield from decisions(found.by_dft[name][-1] for name in CRYSTALS if name in found.by_dft)
    yield from ranks(labelled)


# -- lattices --------------------------------------------------------------------------------------


def error_of_difference_mev(labelled: Sequence[Atoms]) -> float:
    """Return √2 times the model's rms deviation from DFT in ground states of both lattices."""
    deviations = [
        (per_atom(atoms) - atoms.info["model_ev_per_atom"]) * EV_MEV
        for atoms in labelled
        if atoms.info["kind"] == "lattices"
    ]
    return math.sqrt(2 * sum(each**2 for each in deviations) / len(deviations))


def lattices(series: CompositionSeries, error_mev: float) -> Iterator[Claim]:
    """Yield where the stable lattice changes, and how the difference follows x."""
    energies_mev = {
        each.x: each.energy_ev_per_atom * EV_MEV
        for each in sorted(series.differences, key=lambda difference: difference.x)
    }
    paper = {float(x): e for x, e in paper_numbers()["phase_stability_meV_atom"].items()}
    values = {x: Value(energy, error_mev) for x, energy in energies_mev.items()}
    ends = [values[x] for x in (0.0, 6.0)]
    changes = sign_changes(energies_mev)
    where = f"{'above' if ends[0].value > 0 else 'below'} zero at all {len(energies_mev)} x"
    if changes:
        places = [f"{low:g} and {high:g}" for low, high in changes]
        where = f"changes sign between x = {', '.join(places)}"
    yield Claim(
        f"E(P-3c1) - E(C2) changes sign near x = 1.5 to 2, by {TEACHER}",
        f"{paper[0.0]} at x = 0, +{paper[6.0]} meV/atom at x = 6",
        f"{where}: {ends[0]} at x = 0, {ends[1]} at x = 6",
        sign_change(values, [low for low, _ in changes]),
    )
    rise, papers = ends[1] - ends[0], paper[6.0] - paper[0.0]
    yield Claim(
        "Bromine favours C2: the difference rises from x = 0 to 6",
        f"by {papers:.1f} meV/atom",
        f"by {rise} meV/atom",
        rise.is_above(0.0),
        rise.distance(Value(papers)),
    )


def sign_changes(energies_mev: Mapping[float, float]) -> list[tuple[float, float]]:
    """Return each two neighbouring x between which the sign changes."""
    return [
        (x, after)
        for x, after in pairwise(energies_mev)
        if energies_mev[x] * energies_mev[after] < 0
    ]


def sign_change(values: Mapping[float, Value], changes: Sequence[float]) -> str:
    """Return the verdict on a change of sign near x = 1.5 to 2.

    Parameters
    ----------
    values
        The numbers by x, from 0 to 6.
    changes
        Each x after which the sign changes.
    """
    near = [value for x, value in values.items() if 1.0 <= x <= 2.0]  # noqa: PLR2004
    if changes and all(1.0 <= x <= 2.0 for x in changes):  # noqa: PLR2004
        return REPRODUCED
    if any(abs(value.value) < DECISIVE * value.error for value in near):
        return NOT_RESOLVED
    return CONTRADICTED


def differences_by_dft_mev(frames: Sequence[Atoms]) -> dict[float, float]:
    """Return E(P-3c1) - E(C2) by DFT over x, in meV/atom, of the cells that the model relaxed."""
    energies_mev = {
        (atoms.info["lattice"], atoms.info["x"]): per_atom(atoms) * EV_MEV
        for atoms in frames
        if atoms.info["kind"] == "lattices"
    }
    return {
        x: energies_mev[lattice, x] - energies_mev["LYB", x]
        for lattice, x in sorted(energies_mev)
        if lattice == "LYC" and ("LYB", x) in energies_mev
    }


def lattices_by_dft(frames: Sequence[Atoms]) -> Iterator[Claim]:
    """Yield the sign of the difference of both lattices by DFT, of one ordering each."""
    energies_mev = differences_by_dft_mev(frames)
    changes = sign_changes(energies_mev)
    if len(changes) == 1:
        ((low, high),) = changes
        yield Claim(
            "E(P-3c1) - E(C2) changes sign near x = 1.5 to 2, by DFT",
            "-0.25 at x = 1.5, +1.79 meV/atom at x = 2",
            f"changes sign between x = {low:g} and {high:g}",
            bracketed(low, high),
        )
    for x, here in energies_mev.items():
        paper = paper_numbers()["phase_stability_meV_atom"][x]
        lower = "P-3c1" if paper < 0 else "C2"
        yield Claim(
            f"{lower} is the lower lattice by DFT at x = {x:g}",
            f"{paper:+} meV/atom",
            f"{here:+.2f} meV/atom (PBE by GPAW)",
            REPRODUCED if (here > 0) == (paper > 0) else CONTRADICTED,
        )


def bracketed(low: float, high: float) -> str:
    """Return the verdict on a change of sign near x = 1.5 to 2 that lies between two x."""
    if low >= 1.0 and high <= 2.0:  # noqa: PLR2004
        return REPRODUCED
    return CONTRADICTED if high <= 1.0 or low >= 2.0 else NOT_RESOLVED  # noqa: PLR2004


def above_dft_mev(frames: Sequence[Atoms], lattice: str) -> dict[float, float]:
    """Return how far the model's ground states of a lattice lie above DFT's energy, by x."""
    chosen = [
        atoms
        for atoms in frames
        if atoms.info["kind"] == "lattices" and atoms.info["lattice"] == lattice
    ]
    return {
        atoms.info["x"]: (atoms.info["model_ev_per_atom"] - per_atom(atoms)) * EV_MEV
        for atoms in sorted(chosen, key=lambda atoms: atoms.info["x"])
    }


# -- rankings --------------------------------------------------------------------------------------


def decisions(decided: Iterable[GroundState]) -> Iterator[Claim]:
    """Yield how CHGNet ranks the orderings that are relaxed by what decides."""
    for decision in decided:
        done = [
            each
            for each in decision.candidates
            if each.converged and each.energy_ev_per_atom is not None
        ]
        found = spearmanr(
            [each.model_above_best_ev_per_atom for each in done],
            [each.energy_ev_per_atom for each in done],
        )
        lowest = done[0]
        proposed = min(
            (each for each in done if not each.model_volume_flag), key=lambda each: each.model_rank
        )
        gap_mev = (proposed.energy_ev_per_atom - lowest.energy_ev_per_atom) * EV_MEV
        text = f"Spearman's ρ {found.statistic:.2f} (p {probability(found.pvalue)}) with {TEACHER}"
        text += f"; the lowest is number {lowest.model_rank} of CHGNet's order"
        if gap_mev > 0:
            text += f", {gap_mev:.1f} meV/atom below its number {proposed.model_rank}, which it "
            text += "proposes (the lowest that did not expand)"
        yield Claim(
            f"CHGNet's order of its {decision.n} lowest orderings of {decision.system}",
            RANKS_IN_PAPER,
            text,
            is_correlated(found.statistic, found.pvalue),
        )


def ranks(frames: Sequence[Atoms]) -> Iterator[Claim]:
    """Yield how the orderings that CHGNet finds lowest rank by it, by an Ewald sum, and by DFT."""
    kinds = dict.fromkeys(
        atoms.info["kind"] for atoms in frames if "ewald_ev_per_atom" in atoms.info
    )
    for kind in kinds:
        chosen = [atoms for atoms in frames if atoms.info["kind"] == kind]
        dft = [per_atom(atoms) for atoms in chosen]
        found = {
            name: spearmanr([atoms.info[column] for atoms in chosen], dft)
            for name, column in (
                ("CHGNet", "chgnet_ev_per_atom"),
                ("Ewald", "ewald_ev_per_atom"),
                (TEACHER, "model_ev_per_atom"),
            )
        }
        texts = [
            f"{name} {each.statistic:.2f} (p {probability(each.pvalue)})"
            for name, each in found.items()
        ]
        yield Claim(
            f"CHGNet's order of the {len(chosen)} lowest orderings of {kind}",
            RANKS_IN_PAPER,
            f"Spearman's ρ with PBE: {', '.join(texts)}",
            is_correlated(found["CHGNet"].statistic, found["CHGNet"].pvalue),
        )


def is_correlated(rho: float, p_value: float) -> str:
    """Return the verdict on a claim that two orders agree."""
    if p_value >= SIGNIFICANT:
        return NOT_RESOLVED
    return REPRODUCED if rho > 0 else CONTRADICTED


def per_atom(atoms: Atoms) -> float:
    """Return the energy by DFT in eV per atom."""
    return float(atoms.get_potential_energy()) / len(atoms)
