"""`lycb init`: a campaign from a CIF, or one of those that come with the package."""

from __future__ import annotations

import difflib
import itertools
import math
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lycb_flows.cli.structures import OPTION_NAMES, Charges, read_charges, refuse
from lycb_flows.cli.terminal import check_folder_of, checked
from lycb_flows.errors import InputError

if TYPE_CHECKING:
    from lycb_flows.crystals import AutomaticChoice, DisorderedCrystal

_WIDTH = 80
_TEMPLATE = """# Written by `lycb init {source}`; every choice below may be changed.
name: {name}
{mobile}
systems:
  - name: {name}
    parent: {parent}
{reasons}
    enumeration:
{settings}

ranking:
  model: chgnet-0.3.0        # relaxes the orderings; its elements must be those of the crystal
labels:
  labeler: {{type: teacher, model: chgnet-r2scan}}  # a potential in place of DFT: a rehearsal
"""


def init(
    parent: Annotated[
        Path | None, typer.Argument(help="A CIF, or the name of a campaign that --list shows.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Campaign file (default: the CIF's name).")
    ] = None,
    max_atoms: Annotated[
        int | None, typer.Option(min=1, help="Atoms of the cell at most, where there is one.")
    ] = None,
    charge: Charges = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the campaigns that come with the package.")
    ] = False,
) -> None:
    """Write a campaign for a crystal, with cell, composition and mobile ion chosen and explained.

    Given the name of a campaign that --list shows, a copy of that is written, with its CIFs.
    `lycb plan` reads it as it is.
    """
    if listed or parent is None:
        refuse("is of a campaign to write", output=output, max_atoms=max_atoms, charge=charge)
        _list_workflows()
        return
    if parent.name in (known := _workflows()) and not parent.exists():
        refuse("is for a CIF: a campaign is copied as it is", max_atoms=max_atoms, charge=charge)
        path = output or Path(f"{parent.name}.yaml")
        _check_absent(path)
        _copy_crystals(known[parent.name], path.parent)
        path.write_text(known[parent.name].read_text())
        typer.echo(f"{path}: `lycb plan {path}` says what it will do")
        return
    _init_crystal(parent, output, max_atoms, read_charges(charge))


def _init_crystal(
    parent: Path, output: Path | None, max_atoms: int | None, charges: dict[str, float] | None
) -> None:
    from lycb_flows.config import EnumerationConfig
    from lycb_flows.crystals import MAX_ATOMS, check_elements, choose, load_parent

    path = output or parent.with_suffix(".yaml")
    _check_absent(path)
    _check_crystal(parent)
    crystal = load_parent(str(parent))
    stated = {"supercell": (1, 1, 1), "charges": charges}
    config = checked(EnumerationConfig, stated, named=OPTION_NAMES)
    check_elements(crystal, config)
    choice = choose(crystal, config, max_atoms or MAX_ATOMS)
    path.write_text(_text(crystal, choice, parent))
    for reason in (*crystal.notes, *choice.reasons, _occupants_text(crystal, choice)):
        typer.echo(reason)
    typer.echo(f"{path}: `lycb plan {path}` says what it will do")


def _check_crystal(parent: Path) -> None:
    """Refuse what is neither a file nor built in, and offer crystals and campaigns."""
    from lycb_flows.crystals import PARENT_NAMES

    if not parent.is_file() and str(parent) not in PARENT_NAMES:
        names = _workflows()
        near = difflib.get_close_matches(str(parent), [*names, *PARENT_NAMES], n=1)
        raise InputError(
            "neither a crystal nor a campaign",
            fix=f"did you mean {near[0]}?"
            if near
            else f"give the path of a CIF, or one of {', '.join([*PARENT_NAMES, *names])}",
            found=parent,
        )


def _copy_crystals(campaign: Path, folder: Path) -> None:
    """Copy the CIFs that a campaign names beside itself to the same places in a folder."""
    import yaml

    for system in yaml.safe_load(campaign.read_text())["systems"]:
        source, target = campaign.parent / system["parent"], folder / system["parent"]
        if not source.is_file() or (target.exists() and target.samefile(source)):
            continue
        if target.exists() and target.read_bytes() != source.read_bytes():
            raise InputError(
                "the campaign's CIF would replace another file",
                fix="move that one, or give another folder by --output",
                found=target,
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())


def _check_absent(path: Path) -> None:
    if path.exists():
        raise InputError("the campaign's file exists", fix="give another by --output", found=path)
    check_folder_of(path)


def _workflows() -> dict[str, Path]:
    """Return the campaigns that come with the package, by name.

    They lie inside an installed package, and at the root of a checkout.
    """
    package = Path(__file__).parents[1]
    folders = (package / "workflows", package.parent / "workflows")
    found = (path for folder in folders for path in sorted(folder.glob("*.yaml")))
    return {path.stem: path for path in found}


def _list_workflows() -> None:
    wrapper = textwrap.TextWrapper(_WIDTH, subsequent_indent=22 * " ", break_on_hyphens=False)
    for name, path in _workflows().items():
        typer.echo(wrapper.fill(f"{name:20}  {_first_sentence(path)}"))
    typer.echo("`lycb init NAME` writes a copy here, `lycb init my.cif` a campaign for a crystal")


def _first_sentence(campaign: Path) -> str:
    """Return the first sentence of the comment at the head of a campaign's file."""
    head = itertools.takewhile(lambda line: line[:2] == "# ", campaign.read_text().splitlines())
    comment = " ".join(line.removeprefix("# ") for line in head)
    return re.split(r"(?<=\.) ", comment)[0]


def _text(crystal: DisorderedCrystal, choice: AutomaticChoice, parent: Path) -> str:
    import yaml

    dumped = choice.config.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    dumped["supercell"] = list(choice.config.supercell)
    place = parent if crystal.is_built_in else parent.resolve()
    comments = _comments(crystal, choice)
    settings = yaml.safe_dump(dumped, sort_keys=False, default_flow_style=None).splitlines()
    lines = (*crystal.notes, *choice.reasons)
    return _TEMPLATE.format(
        source=parent.name,
        name=re.sub(r"[^A-Za-z0-9_.-]+", "-", crystal.name).strip("-._") or "crystal",
        mobile=_mobile_line(crystal),
        parent=yaml.safe_dump(str(place), width=math.inf).splitlines()[0],
        reasons="\n".join(f"    # {line}" for line in lines),
        settings="\n".join(
            f"      {line}"
            for setting in settings
            for line in (*comments.get(setting.partition(":")[0], ()), setting)
        ),
    )


def _comments(crystal: DisorderedCrystal, choice: AutomaticChoice) -> dict[str, tuple[str, ...]]:
    """Return a line with the reason of each field that the choice itself gives none for."""
    excluding = "sites closer than two ions can be are alternatives"
    comments = {
        "min_occupancy": _occupants_text(crystal, choice),
        "forbidden_pairs": excluding
        if choice.config.forbidden_pairs
        else f"{excluding}: none are so close",
        "composition": "whole atoms, nearest to the refined composition",
        "charges": "given by --charge",
        "cap": "so many orderings are listed at most; of more, a sample",
        "n_search": "the orderings cannot be counted: so many searches find the candidates",
    }
    return {name: (f"# {comment}",) for name, comment in comments.items()}


def _occupants_text(crystal: DisorderedCrystal, choice: AutomaticChoice) -> str:
    """Return which occupants are left out, in words."""
    from lycb_flows.crystals import disordered_cell

    dropped = ", ".join(
        f"{each.species} {each.occupancy:g} on {each.site_label}"
        for each in disordered_cell(crystal, choice.config).dropped
    )
    below = f"below min_occupancy {choice.config.min_occupancy or 0:g}"
    return f"dropped, as they are {below}: {dropped}" if dropped else f"no occupant is {below}"


def _mobile_line(crystal: DisorderedCrystal) -> str:
    from lycb_flows.campaign.mobile import ion_of
    from lycb_flows.crystals import element_shares

    ion = ion_of(crystal)
    if ion is None:
        return "# mobile_species:   # no usual one was found"
    shares = element_shares(crystal.structure)
    is_partial = any(share.get(ion, 1.0) < 1 for share in shares)
    where = (
        "on sites that it occupies in part" if is_partial else "and none of its sites is partial"
    )
    return f"mobile_species: {ion}   # one of the ions that usually conduct, {where}"
