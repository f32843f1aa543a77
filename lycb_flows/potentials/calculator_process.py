"""A calculator of ASE in a process of its own, which may run in another Python environment.

    python calculator_process.py inspect QUESTION
    python calculator_process.py serve

It imports nothing of this package and, to inspect, nothing but Python. Messages on stdin and
stdout are a JSON header and raw arrays, never a pickle. What a package prints goes to stderr.

Files of weights are often pickles, whose reading runs what is written in them. One that is
opened here must be as its package installed it, or have a SHA-256 that is trusted.
"""
# ruff: noqa: ANN401, B905, PLC0415 - arrays of an environment that may lack numpy; older Pythons

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.util
import json
import os
import struct
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import IO, Any

NEEDED = ("energy", "forces", "stress")
_LENGTH = struct.Struct(">Q")
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_ZIP = b"PK\x03\x04"


# -- messages ------------------------------------------------------------------------------------


def write_message(stream: IO[bytes], header: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write a header and named arrays.

    Parameters
    ----------
    stream
        Where to.
    header
        Plain data.
    arrays
        Arrays of numpy's by name.
    """
    shapes = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({**header, "arrays": shapes}).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    stream.writelines(array.tobytes() for array in arrays.values())
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and arrays of the next message.

    Raises
    ------
    EOFError
        When the stream ends.
    """
    import numpy as np

    header = json.loads(_read(stream, _LENGTH.unpack(_read(stream, _LENGTH.size))[0]))
    arrays = {}
    for name, dtype, shape in header.pop("arrays"):
        kind = np.dtype(dtype)
        content = _read(stream, int(np.prod(shape, dtype=int)) * kind.itemsize)
        arrays[name] = np.frombuffer(bytearray(content), kind).reshape(shape)
    return header, arrays


def _read(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("the other side has ended")
    return content


# -- calculators ---------------------------------------------------------------------------------


def find_factory(path: str) -> Any:
    """Return the class of an import path, or the function that makes a calculator.

    Raises
    ------
    ImportError, AttributeError
        When there is none.
    TypeError
        When it is no class of a calculator, and no function.
    """
    from ase.calculators.calculator import BaseCalculator

    module, _, name = path.rpartition(".")
    if module.partition(".")[0] in {*sys.builtin_module_names, *_standard_library()}:
        raise TypeError("Python's own library has no calculators")
    found = getattr(importlib.import_module(module), name)
    is_class = isinstance(found, type)
    if not callable(found) or (is_class and not issubclass(found, BaseCalculator)):
        msg = f"{path} is no calculator of ASE's"
        raise TypeError(msg)
    return found


def _standard_library() -> frozenset[str]:
    return getattr(sys, "stdlib_module_names", frozenset({"os", "subprocess", "shutil"}))


def missing_properties(calculator: Any) -> list[str]:
    """Return which of energy, forces and stress a calculator, or its class, does not state.

    Many calculators state their properties when they are made, and not on their class.
    """
    return sorted(set(NEEDED) - set(getattr(calculator, "implemented_properties", ())))


# -- files that may be programs --------------------------------------------------------------------


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def is_program(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a pickle or an archive that may hold one."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - `os.PathLike` of any kind
            return file.read(4).startswith((*_PICKLES, _ZIP))
    except OSError:
        return False


def find_distribution(module: str) -> metadata.Distribution | None:
    """Return the installed package that has a top module; None where it has no record."""
    try:
        return metadata.distribution(module)
    except metadata.PackageNotFoundError:  # its name is another, e.g. mace-torch
        pass
    for distribution in metadata.distributions():
        tops = (distribution.read_text("top_level.txt") or "").split()
        names = tops or {file.parts[0] for file in distribution.files or () if file.parts}
        if module in names or f"{module}.py" in names:
            return distribution
    return None


def recorded_hashes(distribution: metadata.Distribution | None) -> frozenset[str]:
    """Return the SHA-256 of a package's files as its record states them."""
    return frozenset(
        base64.urlsafe_b64decode(file.hash.value + "==").hex()
        for file in (distribution.files if distribution else None) or ()
        if file.hash is not None and file.hash.mode == "sha256"
    )


class Guard:
    """Refuses files that may be programs, unless they are known.

    Parameters
    ----------
    trusted
        SHA-256 of files that the user trusts.
    package
        Top module of the calculator, whose own files may be opened wherever they lie.

    Attributes
    ----------
    refusal
        Why a file was refused last; a package may say something else of it.
    """

    def __init__(self, trusted: list[str], package: str) -> None:
        self.trusted, self.package = frozenset(trusted), package
        self.refusal = ""
        self.looking = threading.local()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at what is opened, as an audit hook of Python's."""
        if event != "open" or getattr(self.looking, "now", False):
            return
        path, mode = arguments[:2]
        if not isinstance(path, (str, bytes)) or (mode and not set("rU") & set(mode)):
            return
        self.looking.now = True
        try:
            self.check(os.fsdecode(path))
        finally:
            self.looking.now = False

    def check(self, path: str) -> None:
        """Raise PermissionError when a file may be a program that nobody vouched for."""
        if not is_program(path):
            return
        digest = sha256_of(path)
        if digest in self.trusted or digest in recorded_hashes(_owner(path)):
            return
        if digest in recorded_hashes(find_distribution(self.package)):
            return
        self.refusal = f"{path} is a program nobody vouched for, SHA-256 {digest}"
        raise PermissionError(self.refusal)


def _owner(path: str) -> metadata.Distribution | None:
    """Return the installed package in whose folder a file lies."""
    file = Path(path).resolve()
    for place in map(Path, sys.path):
        if place.is_absolute() and place.resolve() in file.parents:
            return find_distribution(file.relative_to(place.resolve()).parts[0])
    return None


# -- the process ------------------------------------------------------------------------------


def inspect(question: dict[str, Any]) -> dict[str, Any]:
    """Return the version of a calculator's package, and whether a file is its own.

    Parameters
    ----------
    question
        `package`, its top module; `path`, more places to import from; `sha256` of the weights.
    """
    sys.path += [place for place in question["path"] if place not in sys.path]
    package = question["package"]
    spec = importlib.util.find_spec(package)
    if spec is None:
        return {"error": f"no module named {package}"}
    distribution = find_distribution(package)
    owns = question["sha256"] in recorded_hashes(distribution)
    version = _hash_of(spec.origin) if distribution is None else distribution.version
    return {"version": version, "owns_weights": owns}


def _hash_of(origin: str | None) -> str:
    """Return what stands for the version of a module without a package: its file's SHA-256."""
    return f"file {sha256_of(origin)[:12]}" if origin and Path(origin).is_file() else "unknown"


class Server:
    """A calculator, and the crystals that it was asked about last."""

    def __init__(self) -> None:
        self.calculator: Any = None
        self.crystals: list[Any] = []
        self.described: list[bool] = []

    def open(self, header: dict[str, Any]) -> dict[str, Any]:
        """Make the calculator; the answer states what it lacks."""
        sys.path += [place for place in header["path"] if place not in sys.path]
        guard = Guard(header["trusted"], header["calculator"].partition(".")[0])
        sys.addaudithook(guard)
        try:
            self.calculator = find_factory(header["calculator"])(**header["arguments"])
        except Exception as err:
            if guard.refusal:
                raise PermissionError(guard.refusal) from err
            raise
        return {"missing": missing_properties(self.calculator)}

    def evaluate(self, arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return energies, forces and stresses; NaN for a crystal that cannot be described."""
        import numpy as np

        self._prepare(arrays["numbers"], arrays["sizes"])
        energies = np.full(len(self.crystals), np.nan)
        forces = np.full(arrays["positions"].shape, np.nan)
        stresses = np.full(arrays["cells"].shape, np.nan)
        end, failure = 0, ""
        for index, (atoms, cell) in enumerate(zip(self.crystals, arrays["cells"])):
            here = slice(end, end + len(atoms))
            end = here.stop
            positions = arrays["positions"][here]
            if not (np.isfinite(positions).all() and np.linalg.det(np.nan_to_num(cell))):
                continue
            atoms.set_cell(cell)
            atoms.positions[:] = positions
            try:
                energies[index] = atoms.get_potential_energy()
                forces[here], stresses[index] = atoms.get_forces(), atoms.get_stress(voigt=False)
                self.described[index] = True
            except Exception as err:  # noqa: BLE001 - whatever a package raises
                if not self.described[index]:
                    failure = _one_line(err)
        header = {"error": failure} if failure else {}
        return header, {"energies": energies, "forces": forces, "stresses": stresses}

    def _prepare(self, numbers: Any, sizes: Any) -> None:
        import numpy as np
        from ase import Atoms

        parts = np.split(numbers, np.cumsum(sizes)[:-1])
        same = [np.array_equal(a.numbers, b) for a, b in zip(self.crystals, parts)]
        if len(parts) == len(self.crystals) and all(same):
            return
        self.crystals = [Atoms(numbers=part, pbc=True) for part in parts]
        self.described = [False] * len(parts)
        for atoms in self.crystals:
            atoms.calc = self.calculator


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def serve(incoming: IO[bytes], outgoing: IO[bytes]) -> None:
    """Answer messages until the other side ends."""
    server = Server()
    while True:
        try:
            header, arrays = read_message(incoming)
        except EOFError:
            return
        answer: dict[str, Any] = {}
        results: dict[str, Any] = {}
        try:
            if header["do"] == "open":
                answer = server.open(header)
            else:
                answer, results = server.evaluate(arrays)
        except Exception as err:  # noqa: BLE001 - whatever a package raises
            answer = {"error": _one_line(err), "absent": isinstance(err, ImportError)}
        write_message(outgoing, answer, results)


def main() -> None:
    """Inspect, or serve on stdin and stdout."""
    del sys.path[0]  # this file's folder, whose modules are nobody's
    if sys.argv[1] == "inspect":
        sys.stdout.write(json.dumps(inspect(json.loads(sys.argv[2]))))
        return
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what packages print
    serve(sys.stdin.buffer, outgoing)


if __name__ == "__main__":
    main()
