"""Families whose members may come from other packages: potentials, labelers, quantities.

A family has a name, which is also its entry-point group, and members of this package. Another
package adds a member by an entry point of the group in its pyproject.toml:

    [project.entry-points."lycb_flows.potentials"]
    lennard-jones = "my_package.lennard_jones:LennardJones"

A member is imported when it is used, so that a slow or broken plug-in has no effect on campaigns
without it.
"""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Generic, TypeVar, cast

from lycb_flows.errors import InputError

M = TypeVar("M")

_OWN_PACKAGE = "lycb-flows"
_loaded_packages: dict[str, str] = {}


def packages_in_use() -> dict[str, str]:
    """Return the version of every package of which this process has loaded a plug-in, by name."""
    return dict(_loaded_packages)


class Registry(Generic[M]):
    """The members of a family, by name.

    Parameters
    ----------
    group
        Entry-point group that other packages use.
    noun
        What a member is called in an error, e.g. 'architecture'.
    kind
        Protocol that a member must have (`runtime_checkable`).
    own
        Members of this package: name -> 'module:attribute'. The attribute is a member, or a
        class that makes one without arguments; its `name` is the name it is registered under.
    """

    def __init__(self, group: str, noun: str, kind: type, own: Mapping[str, str]) -> None:
        self.group, self.noun, self.kind = group, noun, kind
        self._own = [metadata.EntryPoint(name, value, group) for name, value in own.items()]
        self._loaded: dict[metadata.EntryPoint, M] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of all members, this package's first; nothing is imported."""
        return tuple(dict.fromkeys(entry.name for entry in self._entries()))

    def plugins(self) -> dict[str, str]:
        """Return the members of other packages.

        Returns
        -------
        dict
            Package and version of every name; all packages where several bring the same name.
        """
        found: dict[str, str] = {}
        for entry in _installed(self.group, tuple(sys.path)):
            package = _package(entry, with_version=True)
            found[entry.name] = f"{found[entry.name]} and {package}" if entry.name in found else (
                package
            )  # fmt: skip
        return found

    def get(self, name: str) -> M:
        """Return the member of a name.

        Raises
        ------
        InputError
            When there is none, when several packages bring one, or when it does not load.
        """
        entries = [entry for entry in self._entries() if entry.name == name]
        if not entries:
            message = f"unknown {self.noun}"
            raise InputError(message, fix=self._advice(name), found=name)
        if len(entries) > 1:
            raise InputError(
                "several packages bring a plug-in of one name",
                fix="uninstall all but one of them",
                **{self.noun: name},
                packages=" and ".join(sorted(map(_package, entries))),
            )
        (entry,) = entries
        if entry not in self._loaded:
            self._loaded[entry] = self._load(entry)
        return self._loaded[entry]

    def usable(self) -> dict[str, M]:
        """Return the members that load, by name."""
        return {name: member for name, member in self._each() if not isinstance(member, InputError)}

    def broken(self) -> dict[str, InputError]:
        """Return the error of every member that does not load, by name."""
        return {name: member for name, member in self._each() if isinstance(member, InputError)}

    def _each(self) -> Iterator[tuple[str, M | InputError]]:
        for name in self.names():
            try:
                yield name, self.get(name)
            except InputError as err:
                yield name, err

    def _entries(self) -> list[metadata.EntryPoint]:
        return [*self._own, *_installed(self.group, tuple(sys.path))]

    def _load(self, entry: metadata.EntryPoint) -> M:
        try:
            member = entry.load()
            if isinstance(member, type):
                member = member()
        except Exception as err:  # whatever another package raises while it is imported
            raise self._refusal(entry, f"{type(err).__name__}: {err}") from err
        if not isinstance(member, self.kind):
            raise self._refusal(entry, f"{entry.value} is no {self.kind.__name__}")
        if getattr(member, "name", None) != entry.name:
            raise self._refusal(entry, f"{entry.value} has another name")
        distribution = _distribution(entry)
        if distribution is not None:
            _loaded_packages[distribution.name] = distribution.version
        return cast("M", member)

    def _refusal(self, entry: metadata.EntryPoint, reason: str) -> InputError:
        return InputError(
            "a plug-in does not load",
            fix="update or uninstall its package",
            **{self.noun: entry.name},
            package=_package(entry),
            reason=reason,
        )

    def _advice(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.names(), n=1)
        advice = f"give one of {', '.join(map(repr, self.names()))}, or install its package"
        return f"did you mean {close[0]!r}? {advice}" if close else advice


@functools.lru_cache(maxsize=16)
def _installed(group: str, _path: tuple[str, ...]) -> tuple[metadata.EntryPoint, ...]:
    """Return the entry points of a group, sorted by name; searched anew when `sys.path` changes."""
    found = metadata.entry_points(group=group)
    return tuple(sorted(found, key=lambda entry: (entry.name, entry.value, _package(entry))))


def _distribution(entry: metadata.EntryPoint) -> metadata.Distribution | None:
    """Return the package that has declared an entry point; None for one of this package."""
    return getattr(entry, "dist", None)


def _package(entry: metadata.EntryPoint, *, with_version: bool = False) -> str:
    distribution = _distribution(entry)
    if distribution is None:
        return _OWN_PACKAGE
    return f"{distribution.name} {distribution.version}" if with_version else distribution.name
