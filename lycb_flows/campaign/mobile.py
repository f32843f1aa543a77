"""What a campaign leaves open and its crystals answer: the mobile ion, and distance rules."""

from __future__ import annotations

from collections.abc import Sequence

from lycb_flows.config import Campaign
from lycb_flows.crystals import (
    DisorderedCrystal,
    element_shares,
    guessed_charges,
    mobile_ion,
    substituted,
    summed_shares,
    with_rules,
)
from lycb_flows.errors import InputError

_PLACES = (("md", "health"), ("learning", "selection"), ("measure", "diffusion"))
_ION = "mobile_species"


def with_facts(campaign: Campaign, crystals: Sequence[DisorderedCrystal]) -> Campaign:
    """Return the campaign with its mobile ion and its distance rules filled in.

    Parameters
    ----------
    campaign
        As its file states it.
    crystals
        The parent of each of its systems.

    Raises
    ------
    InputError
        When its sections or its crystals do not agree on the ion.
    """
    pairs = list(zip(campaign.systems, crystals, strict=True))
    systems = tuple(
        system.model_copy(update={"enumeration": with_rules(crystal, system.enumeration)})
        for system, crystal in pairs
    )
    campaign = campaign.model_copy(update={"systems": systems})
    simulated = [substituted(crystal, system.enumeration) for system, crystal in pairs]
    ion = _stated(campaign) or _found(campaign, simulated)
    return campaign if ion is None else _of_ion(campaign, ion, simulated)


def _stated(campaign: Campaign) -> str | None:
    """Return the ion that the file names, for the campaign or in its sections."""
    sections = [getattr(getattr(campaign, outer), inner) for outer, inner in _PLACES]
    named = {getattr(s, _ION) for s in (campaign, *sections) if _ION in s.model_fields_set}
    named.discard(None)
    if len(named) > 1:
        raise InputError(
            "a campaign has one mobile species",
            fix="set mobile_species of the campaign, and take it out of the sections",
            found=", ".join(sorted(named)),
        )
    return next(iter(named), None)


def _found(campaign: Campaign, crystals: Sequence[DisorderedCrystal]) -> str | None:
    """Return the ion that the crystals have in common; None when none of them has one."""
    ions = {
        system.name: ion_of(crystal)
        for system, crystal in zip(campaign.systems, crystals, strict=True)
    }
    found = {ion for ion in ions.values() if ion is not None}
    if len(found) > 1:
        raise InputError(
            "the crystals of a campaign have different mobile ions",
            fix="set mobile_species of the campaign, or give each a campaign of its own",
            found=", ".join(f"{name}: {ion}" for name, ion in ions.items()),
        )
    return next(iter(found), None)


def ion_of(crystal: DisorderedCrystal) -> str | None:
    """Return the mobile ion of a crystal; None when it holds none of the usual ones."""
    return mobile_ion(*_amounts(crystal))


def _amounts(crystal: DisorderedCrystal) -> tuple[dict[str, float], dict[str, float]]:
    """Return the atoms of each element, all and those on partially occupied sites."""
    shares = element_shares(crystal.structure)
    disordered = [
        share for site, share in zip(crystal.structure, shares, strict=True) if not site.is_ordered
    ]
    return summed_shares(shares), summed_shares(disordered)


def _of_ion(campaign: Campaign, ion: str, crystals: Sequence[DisorderedCrystal]) -> Campaign:
    """Return the campaign whose sections all speak of an ion, with the charge that it has."""
    sections = dict[str, object]()
    for outer, inner in _PLACES:
        section = getattr(campaign, outer)
        part = getattr(section, inner)
        update: dict[str, str | int] = {_ION: ion}
        if inner == "diffusion" and "charge_number" not in part.model_fields_set:
            update |= _charge(ion, campaign, crystals)
        changed = part.model_copy(update=update)
        sections[outer] = section.model_copy(update={inner: changed})
    return campaign.model_copy(update=sections)


def _charge(ion: str, campaign: Campaign, crystals: Sequence[DisorderedCrystal]) -> dict[str, int]:
    """Return the charge of an ion, where a crystal that holds it tells."""
    for system, crystal in zip(campaign.systems, crystals, strict=True):
        charge = guessed_charges(_amounts(crystal)[0], system.enumeration.charges).get(ion)
        if charge:
            return {"charge_number": round(charge)}
    return {}
