"""Families to which other packages add members by entry points.

A member is imported when it is asked for and not before: a plug-in that cannot be imported
stops nobody who does not use it.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Generic, TypeVar

from lycb_flows.errors import InputError

Member = TypeVar("Member")


class Registry(Generic[Member]):
    """The members of a family by name: built in, or of plug-ins.

    Parameters
    ----------
    group
        Name of the entry-point group, e.g. "lycb_flows.labelers".
    noun
        What a member is called in messages, e.g. "labeler".
    built_in
        Name to "module:attribute" of the members of this package.

    Notes
    -----
    An attribute that is a class is called without arguments; what it returns is the member.
    """

    def __init__(self, group: str, noun: str, built_in: Mapping[str, str]) -> None:
        self.group, self.noun, self.built_in = group, noun, dict(built_in)

    @property
    def plugins(self) -> tuple[str, ...]:
        """Names of the installed plug-ins, usable or not."""
        return tuple(sorted({point.name for point in find_entry_points(self.group)}))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all members, the built-in ones first."""
        return tuple(dict.fromkeys((*self.built_in, *self.plugins)))

    def find(self, name: str) -> Member:
        """Return the member of a name.

        Raises
        ------
        InputError
            When there is none, or it is a plug-in that cannot be used.
        """
        if name not in self.built_in:
            return self.find_plugin(name)
        module, _, attribute = self.built_in[name].partition(":")
        member: Member = _made(getattr(importlib.import_module(module), attribute))
        return member

    def find_plugin(self, name: str) -> Member:
        """Return the member that a plug-in adds under a name.

        Raises
        ------
        InputError
            When there is none, another has the same name, or it cannot be imported.
        """
        points = [point for point in find_entry_points(self.group) if point.name == name]
        if not points:
            message = f"no such {self.noun}"
            raise InputError(message, fix=self._advice(name), found=repr(name))
        packages = [*(["lycb-flows"] if name in self.built_in else []), *map(_package, points)]
        if len(packages) > 1:
            message = f"several packages have a {self.noun} of this name"
            raise InputError(
                message,
                fix="uninstall all but one of them",
                name=name,
                packages=" and ".join(packages),
            )
        try:
            member: Member = _load(points[0])
        except Exception as err:
            message = f"the plug-in of this {self.noun} cannot be used"
            raise InputError(
                message,
                fix="update or uninstall its package",
                name=name,
                package=packages[0],
                reason=f"{type(err).__name__}: {err}"[:200],
            ) from err
        return member

    def package_of(self, name: str) -> str:
        """Return name and version of the package that adds a member."""
        (point,) = [point for point in find_entry_points(self.group) if point.name == name]
        version = point.dist.version if point.dist is not None else ""
        return f"{_package(point)} {version}".strip()

    def _advice(self, name: str) -> str:
        known = f"known are {', '.join(map(repr, self.names))}"
        close = difflib.get_close_matches(name, self.names, n=1)
        return f"did you mean {close[0]!r}? {known}" if close else known


@functools.cache
def find_entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """Return a group's entry points of all installed packages."""
    return tuple(metadata.entry_points(group=group))


@functools.cache
def _load(point: metadata.EntryPoint) -> Any:  # noqa: ANN401 - of whichever family
    return _made(point.load())


def _made(found: Any) -> Any:  # noqa: ANN401 - likewise
    return found() if isinstance(found, type) else found


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
