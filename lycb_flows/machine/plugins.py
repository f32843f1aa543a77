"""Families of parts that other packages can add to, by entry points.

A family is a group of entry points. The members that come with this package are written in
the same form, "module:attribute", and are imported when they are first asked for, as those
of other packages are. So the lower layers can ask for a member without importing its module,
and a broken package stops only what needs it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lycb_flows.errors import InputError


class Family:
    """The members of one group of entry points, by name.

    Parameters
    ----------
    group
        The group of entry points; the attribute that an entry point names is called
        without arguments and returns the member, whose `name` is the entry point's.
    noun
        What one member is called.
    built_in
        Name -> "module:attribute" of the members that come with this package.
    """

    def __init__(self, group: str, noun: str, built_in: Mapping[str, str]) -> None:
        self.group, self.noun, self._built_in = group, noun, dict(built_in)
        self._loaded: dict[str, Any] = {}

    @functools.cached_property
    def entries(self) -> dict[str, EntryPoint]:
        """The entry point of every member, built in or installed.

        Raises
        ------
        InputError
            When two members have one name.
        """
        found = {
            name: EntryPoint(name, value, self.group) for name, value in self._built_in.items()
        }
        for entry in entry_points(group=self.group):
            if entry.name in found and entry.value != found[entry.name].value:
                raise InputError(
                    "two packages bring members of one name",
                    fix="uninstall one of them",
                    family=self.group,
                    name=entry.name,
                    found=f"{found[entry.name].value} and {entry.value}",
                )
            found[entry.name] = entry
        return found

    def find(self, name: str) -> Any:  # noqa: ANN401 - each family states its members' type
        """Return the member of this name.

        Raises
        ------
        InputError
            When it is not installed or cannot be loaded.
        """
        if name not in self.entries:
            raise InputError(
                "nothing that is installed has this name",
                fix=f"install what brings it, or use one of {', '.join(self.entries)}",
                **{self.noun: name},
            )
        if name not in self._loaded:
            self._loaded[name] = self._load(self.entries[name])
        return self._loaded[name]

    def _load(self, entry: EntryPoint) -> Any:  # noqa: ANN401 - as above
        try:
            member = entry.load()()
            if member.name != entry.name:
                msg = f"it calls itself {member.name!r}"
                raise ValueError(msg)  # noqa: TRY301 - one message for whatever is wrong
        except Exception as err:
            package = entry.dist.name if entry.dist else entry.value
            raise InputError(
                "a plug-in cannot be loaded",
                fix=f"repair or uninstall {package}",
                **{self.noun: entry.name},
                reason=f"{type(err).__name__}: {err}",
            ) from err
        return member

    def members(self) -> tuple[Any, ...]:
        """Return every member that can be loaded."""
        return self._examined[0]

    def broken(self) -> dict[str, str]:
        """Return why members cannot be loaded, by name."""
        return self._examined[1]

    @functools.cached_property
    def _examined(self) -> tuple[tuple[Any, ...], dict[str, str]]:
        members, reasons = [], {}
        for name in self.entries:
            try:
                members.append(self.find(name))
            except InputError as err:
                reasons[name] = str(err)
        return tuple(members), reasons

    def refresh(self) -> None:
        """Look again at what is installed."""
        self._loaded.clear()
        for name in ("entries", "_examined"):
            self.__dict__.pop(name, None)


QUANTITIES = Family(
    "lycb_flows.quantities",
    "quantity",
    {
        "diffusion": "lycb_flows.quantities.diffusion:Diffusion",
        "arrhenius": "lycb_flows.quantities.arrhenius:ArrheniusLaw",
    },
)
"""What a campaign can measure; `lycb_flows.quantities.base` says what a member is."""
