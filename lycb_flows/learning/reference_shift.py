"""Reference energies: a model's energies are moved to those of a level of theory, by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lycb_flows.learning.labelled import LabelledStructure, elements_of
from lycb_flows.potentials import SinglePoint, Trainable

MP2020_REMOVAL_EV = {"Cl": 0.614, "Br": 0.534}
"""CHGNet predicts MP2020-corrected energies, E = E_raw - 0.614 n_Cl - 0.534 n_Br; towards raw
PBE its energy rises by so much per anion (pymatgen's MP2020Compatibility.yaml)."""

_RESIDUAL_EV_PER_ATOM = 5e-3  # error of a shifted model's energies, the noise of the fit


def shift_reference(
    potential: Trainable,
    labelled: Sequence[LabelledStructure],
    *,
    raw_pbe: bool,
    ridge_ev_per_atom: float,
) -> tuple[Trainable, dict[str, float]]:
    """Return a copy whose energies agree with the labels' on average, by its reference energies.

    The residual E_label - E_model per atom is fitted as a sum over the composition. Raw PBE:
    MP2020's anion corrections are taken back first, and what remains is fitted with a prior
    of width `ridge_ev_per_atom` around zero. Other theories: least squares of smallest norm.

    Parameters
    ----------
    potential
        The potential, which is not changed.
    labelled
        The labels.
    raw_pbe
        Whether the labels are uncorrected PBE.
    ridge_ev_per_atom
        Width of the prior, in eV per atom of an element.

    Returns
    -------
    tuple
        The shifted copy, and the energies added, in eV per atom of each element.
    """
    predictions = potential.predict([label.structure for label in labelled])
    ridge = ridge_ev_per_atom if raw_pbe else None
    shift_ev = fitted_shift_ev(labelled, predictions, raw_pbe_ridge_ev_per_atom=ridge)
    return potential.shifted(shift_ev), shift_ev


def fitted_shift_ev(
    labelled: Sequence[LabelledStructure],
    predictions: Sequence[SinglePoint],
    *,
    raw_pbe_ridge_ev_per_atom: float | None = None,
) -> dict[str, float]:
    """Return the energy per atom of each element that takes predictions to labels on average.

    Parameters
    ----------
    labelled
        The labels.
    predictions
        The prediction for each of them.
    raw_pbe_ridge_ev_per_atom
        Width of the prior around MP2020's corrections for labels that are uncorrected PBE; None:
        least squares of smallest norm.
    """
    elements = sorted(elements_of(labelled))
    raw_pbe = raw_pbe_ridge_ev_per_atom is not None
    shift_ev = dict.fromkeys(elements, 0.0)
    if raw_pbe:
        shift_ev |= {el: ev for el, ev in MP2020_REMOVAL_EV.items() if el in shift_ev}
    shares = np.array([_shares(label, elements) for label in labelled])
    residuals = np.array(
        [
            (label.energy_ev - point.energy_ev) / label.n_atoms
            for label, point in zip(labelled, predictions, strict=True)
        ]
    ) - shares @ np.array(list(shift_ev.values()))
    if raw_pbe_ridge_ev_per_atom is not None:  # the prior measures zero, with its width as error
        prior = np.eye(len(elements)) * (_RESIDUAL_EV_PER_ATOM / raw_pbe_ridge_ev_per_atom)
        shares = np.concatenate([shares, prior])
        residuals = np.concatenate([residuals, np.zeros(len(elements))])
    fitted, *_ = np.linalg.lstsq(shares, residuals)
    for element, energy_ev in zip(elements, fitted.tolist(), strict=True):
        shift_ev[element] += energy_ev
    return shift_ev


def shifted_points(
    labelled: Sequence[LabelledStructure],
    predictions: Sequence[SinglePoint],
    shift_ev: Mapping[str, float],
) -> list[SinglePoint]:
    """Return predictions with a shift per atom of an element added to their energies.

    Parameters
    ----------
    labelled
        The structures, with their labels.
    predictions
        The prediction for each of them.
    shift_ev
        By element; one that is not there is not shifted.
    """
    return [
        replace(
            point,
            energy_ev=point.energy_ev
            + sum(shift_ev.get(symbol, 0.0) for symbol in label.structure.species),
        )
        for label, point in zip(labelled, predictions, strict=True)
    ]


def _shares(label: LabelledStructure, elements: Sequence[str]) -> list[float]:
    return [label.structure.species.count(element) / label.n_atoms for element in elements]
