"""Which imported labels a campaign may train on.

A label is admitted when its level of theory is the campaign's, and when no test set holds its
structure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from lycb_flows.config import LabelConfig
from lycb_flows.errors import InputError
from lycb_flows.labels import Level, Theory, contradictions, level_of_fingerprint
from lycb_flows.schemas import Dataset, Import, Label, Model, Structure
from lycb_flows.store import ResultStore

_SAME_ANG = 1e-3
"""Coordinates that went through text; MD frames of 1 fs apart differ by more."""


def named_imports(
    store: ResultStore, names: tuple[str, ...], theory: Theory, *, allow_unknown: bool
) -> tuple[str, ...]:
    """Return the keys of the imports of some sets, all at a campaign's level of theory.

    Parameters
    ----------
    store
        Holds the imports.
    names
        Names of sets, or keys of single imports.
    theory
        The campaign's level of theory.
    allow_unknown
        Whether to accept labels whose level is not known in full and does not contradict the
        campaign's.

    Returns
    -------
    tuple of str
        Sorted, each key once.

    Raises
    ------
    InputError
        When there is no such set, or its level is another or unknown.
    """
    found: dict[str, Import] = {}
    for name in names:
        documents = list(store.find_all(Import, name=name)) or [_import_by_key(store, name)]
        found |= {document.key: document for document in documents}
    for document in found.values():
        _check_level(document, theory, allow_unknown=allow_unknown)
    return tuple(sorted(found))


def _import_by_key(store: ResultStore, key: str) -> Import:
    document = store.find_document(key)
    if not isinstance(document, Import):
        known = dict.fromkeys(document.name for document in store.find_all(Import))
        raise InputError(
            "no such set of imported labels",
            fix="run `lycb import labels`, or mend labels.imported",
            found=key,
            known=", ".join(known) or "none",
        )
    return document


def _check_level(document: Import, theory: Theory, *, allow_unknown: bool) -> None:
    statement = document.statement
    known = Theory.model_validate(statement) if statement is not None else None
    if document.theory == theory.fingerprint:
        return
    if known is not None and theory.differs_in_kpoints_alone(known):
        return  # `has_another_mesh` decides for each label when it is trained on
    both = f"{document.theory_name} [{document.theory}] and {theory.name} [{theory.fingerprint}]"
    if document.unknown and not allow_unknown:
        raise InputError(
            "imported labels of a level of theory that is not known in full",
            fix="import them with --theory, or set labels.allow_unknown: true",
            set=document.name,
            unknown=", ".join(document.unknown),
            found=both,
        )
    level = Level(document.theory, document.theory_name, known, document.unknown)
    different = contradictions(level, Level.of(theory))
    if not document.unknown or different:
        raise InputError(
            "labels of different levels of theory never meet",
            fix="take the set out of labels.imported",
            set=document.name,
            found=both,
            **({"differs": "; ".join(different)} if different else {}),
        )


def admitted_levels(store: ResultStore, config: LabelConfig) -> set[str]:
    """Return the fingerprints of imported levels that may be mixed with the campaign's.

    Parameters
    ----------
    store
        Holds the imports.
    config
        The labels section of a submitted campaign, with keys of imports. Without `allow_unknown`
        no level is admitted.
    """
    documents = [store.load(Import, key) for key in config.imported or ()]
    return (
        {document.theory for document in documents if document.unknown}
        if config.allow_unknown
        else set()
    )


def imported_labels(store: ResultStore, config: LabelConfig) -> Iterator[Label]:
    """Yield the labels of a submitted campaign's imports, each once.

    Parameters
    ----------
    store
        Holds the imports and their labels. Retracted labels are left out.
    config
        The labels section of the campaign, with keys of imports.
    """
    imports = (store.load(Import, key) for key in config.imported or ())
    keys = dict.fromkeys(key for document in imports for key in document.labels)
    return (label for key in keys if (label := store.find(Label, key)) is not None)


def stated_theory(store: ResultStore, fingerprint: str) -> Theory | None:
    """Return the level of theory behind a fingerprint.

    Parameters
    ----------
    store
        Holds the imports, some of which state their level.
    fingerprint
        Of the level, in full.

    Returns
    -------
    Theory or None
        A level that this package defines, else what an import states; None when nothing states it.
    """
    ours = level_of_fingerprint(fingerprint, "").theory
    if ours is not None:
        return ours
    statements = [document.statement for document in store.find_all(Import, theory=fingerprint)]
    stated = next((statement for statement in statements if statement is not None), None)
    return Theory.model_validate(stated) if stated is not None else None


def has_another_mesh(store: ResultStore, label: Label, theory: Theory) -> bool:
    """Return whether a label was computed with other k-points than a level of theory gives.

    Only levels that differ from `theory` in their k-points alone are compared, by the mesh that
    each of them gives the label's cell.

    Parameters
    ----------
    store
        Holds the structure of the label and statements of its level.
    label
        An imported label, or one of the campaign's own.
    theory
        The campaign's level of theory.
    """
    if label.theory == theory.fingerprint:
        return False
    own = stated_theory(store, label.theory)
    if own is None or not theory.differs_in_kpoints_alone(own):
        return False
    cell = store.load(Structure, label.structure).lattice_ang
    return not theory.admits(own, cell, label.kpoint_mesh)


def of_one_level(store: ResultStore, labels: Collection[Label]) -> bool:
    """Return whether one of the labels' levels would have computed every one of them.

    Parameters
    ----------
    store
        Holds the labels' structures and statements of their levels.
    labels
        Labels of several levels. Where a level is stated nowhere, the answer is False.
    """
    stated = {name: stated_theory(store, name) for name in {label.theory for label in labels}}
    levels = {name: theory for name, theory in stated.items() if theory is not None}
    if len(levels) < len(stated):
        return False
    cells = [store.load(Structure, label.structure).lattice_ang for label in labels]
    return any(
        all(
            theory.admits(levels[label.theory], cell, label.kpoint_mesh)
            for label, cell in zip(labels, cells, strict=True)
        )
        for theory in levels.values()
    )


class KnownCrystals:
    """A set of crystals that recognises its members after their coordinates went through text.

    Parameters
    ----------
    structures
        The members. The same atoms in another order count as another crystal.
    """

    def __init__(self, structures: Iterable[Structure]) -> None:
        groups: dict[tuple[str, ...], list[Structure]] = {}
        for structure in structures:
            groups.setdefault(structure.species, []).append(structure)
        self._groups = {
            species: (
                np.array([structure.lattice_ang for structure in group]),
                np.array([structure.frac_coords for structure in group]),
            )
            for species, group in groups.items()
        }

    def __contains__(self, structure: Structure) -> bool:
        """Return whether a structure is a member, lattice vectors and positions within 1e-3 Å."""
        if structure.species not in self._groups:
            return False
        lattices, coords = self._groups[structure.species]
        stretch = np.abs(lattices - np.array(structure.lattice_ang)).max(axis=(1, 2))
        shift = coords - np.array(structure.frac_coords)
        shift_ang = (shift - np.round(shift)) @ np.array(structure.lattice_ang)
        away = np.maximum(stretch, np.abs(shift_ang).max(axis=(1, 2)))
        return bool((away < _SAME_ANG).any())


def training_labels_of(store: ResultStore, model: Model) -> set[str]:
    """Return the keys of the labels that a model or any of its ancestors has seen.

    Validation labels count as seen, because they choose the epoch that is kept.
    """
    labels: set[str] = set()
    ancestor: Model | None = model
    while ancestor is not None:
        if ancestor.dataset is not None:
            dataset = store.load(Dataset, ancestor.dataset)
            labels |= {*dataset.training_labels, *dataset.validation_labels}
        parent = ancestor.parent_model
        ancestor = store.load(Model, parent) if parent is not None else None
    return labels
