"""Any calculator of ASE as a model: by import path, written out, or in a YAML file.

| name | meaning |
|---|---|
| `ase.calculators.emt.EMT` | a class, or a function that makes a calculator |
| a YAML file, or a mapping in a campaign | `config.models.CalculatorModel`: arguments, weights |

The key of such a model is made of the import path, the arguments, the weights' SHA-256 and the
version of the package. Which Python has the package is this machine's matter.
"""
# ruff: noqa: PLC0415 - torch takes seconds, and names and costs need none of it

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from lycb_flows.config import IMPORT_PATH, CalculatorModel, parse_yaml
from lycb_flows.errors import InputError, MachineError, first_line
from lycb_flows.machine import in_full, name_python, python_of, run_bound
from lycb_flows.potentials import calculator_process
from lycb_flows.potentials.architecture import ModelSource

if TYPE_CHECKING:
    from lycb_flows.potentials.calculator_potential import CalculatorPotential
    from lycb_flows.schemas import Model

TRUSTED = "trusted"
"""Source of a model whose files of weights the user vouched for."""
_CARDS = (".yaml", ".yml")
_CALL = re.compile(rf"({IMPORT_PATH})(\(.*\))?", re.DOTALL)


class Calculators:
    """Calculators of ASE, each in a process of its own; they predict and do not train."""

    name = "calculator"
    description = "any calculator of ASE with energy, forces and stress, in its own process"
    model_names: tuple[str, ...] = ()
    file_suffixes = _CARDS

    def find_model(self, name_or_path: str) -> ModelSource | None:
        """Return the model of an import path, of settings in JSON, or of a YAML file.

        Raises
        ------
        InputError
            When a package is missing, or nobody vouched for a file of weights.
        """
        config = _read(name_or_path)
        return None if config is None else _source(config)

    def load(self, model: Model, weights: bytes, device: str) -> CalculatorPotential:
        """Return the calculator, at work in its own process.

        Parameters
        ----------
        model
            The document; its `architecture_args` name calculator, arguments and version.
        weights
            Content of its file; empty where it has none.
        device
            What stands for {device} in its arguments.

        Raises
        ------
        MachineError
            When its package is not installed here, or in another version.
        InputError
            When the calculator does not open, or lacks energy, forces or stress.
        """
        from lycb_flows.potentials.calculator_potential import CalculatorPotential

        check_version(model)
        trusted = [model.weights.sha256, *model.architecture_args.get("files", ())]
        return CalculatorPotential(
            model, weights, device, trusted=trusted if model.source == TRUSTED else []
        )

    def rates(self, model: Model) -> None:
        """Return None: nobody knows what a calculator costs."""
        del model


def absolute_model(name: str, folder: Path) -> str:
    """Return the name of a model with its paths made absolute.

    Parameters
    ----------
    name
        Not one of an architecture's names.
    folder
        What its paths are relative to.
    """
    config = _written_out(name)
    if config is None:
        return name if _imported(name) else str((folder / name).resolve())
    paths = {
        field: str((folder / in_full(Path(path))).absolute())  # a link to Python stays one
        for field in ("weights", "python")
        if (path := getattr(config, field)) is not None
    }
    return config.model_copy(update=paths).as_text()


def is_file(name: str) -> bool:
    """Return whether the name of a model, made absolute, is that of a file that exists."""
    return not name.startswith("/") or Path(re.sub(r"\.pth:\w+$", ".pth", name)).is_file()


# -- names -----------------------------------------------------------------------------------------


def _read(name: str) -> CalculatorModel | None:
    """Return the settings that a name stands for; None where it is that of another model."""
    path = Path(name)
    if name.endswith(_CARDS) and path.is_file():
        try:
            config = CalculatorModel.model_validate(parse_yaml(path.read_text()))
        except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as err:
            raise InputError(
                "not the file of a calculator",
                fix="give calculator, arguments, weights (docs/potentials.md)",
                file=path.name,
                reason=first_line(err),
            ) from err
        text = absolute_model(config.as_text(), path.parent)
        return _written_out(text)
    return _written_out(name) or _imported(name)


def _written_out(name: str) -> CalculatorModel | None:
    if not name.startswith("{"):
        return None
    try:
        return CalculatorModel.model_validate_json(name)
    except ValidationError as err:
        raise InputError(
            "not the settings of a calculator", fix="see docs/potentials.md", reason=first_line(err)
        ) from err


def _imported(name: str) -> CalculatorModel | None:
    """Return the calculator of an import path, perhaps called with arguments; None for a file."""
    found = _CALL.fullmatch(name)
    if found is None or Path(name).exists():
        return None
    path, call = found.group(1), found.group(3)
    if call is None and not path.rpartition(".")[2][0].isupper():
        return None  # a file that does not exist, rather than a function
    return CalculatorModel(calculator=path, arguments=_arguments(call or "()"))


def _arguments(call: str) -> dict[str, Any]:
    """Return the keyword arguments of a call as Python writes it; only literals are read."""
    try:
        return {str(word.arg): ast.literal_eval(word.value) for word in _keywords(call)}
    except (SyntaxError, ValueError) as err:
        raise InputError(
            "cannot read the arguments of a calculator: keyword arguments only",
            fix="write them as name=value, with plain values",
            found=call[:80],
        ) from err


def _keywords(call: str) -> list[ast.keyword]:
    node = ast.parse(f"call{call}", mode="eval").body
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError(call)
    return node.keywords


# -- models ----------------------------------------------------------------------------------------


def _source(config: CalculatorModel) -> ModelSource:
    package = config.calculator.partition(".")[0]
    if config.python is not None:
        name_python(package, config.python)
    weights, file = b"", Path(config.weights or "")
    if config.weights is not None:
        try:
            weights = file.read_bytes()
        except OSError as err:
            raise InputError("no such file of weights", fix="correct it", file=file) from err
    digest = hashlib.sha256(weights).hexdigest()
    trusted = set(config.trust_sha256 or ())
    found = _inspect(package, digest if weights else None)
    if weights and not found["owns_weights"] and digest not in trusted:
        raise InputError(
            "a file of weights is a program, and nobody vouched for this one",
            fix="if you trust where it comes from, add its SHA-256 to trust_sha256",
            file=file.name,
            sha256=digest,
        )
    args = {
        "calculator": config.calculator,
        "arguments": config.arguments,
        "package": package,
        "version": found["version"],
        "suffix": file.suffix or None,
        "files": sorted(trusted - {digest}) or None,
    }
    return ModelSource.of_weights(
        weights,
        name="-".join(filter(None, [config.calculator.rpartition(".")[2], file.stem])),
        architecture=Calculators.name,
        architecture_args={name: value for name, value in args.items() if value is not None},
        source=TRUSTED if trusted else "file",
        media_type="application/octet-stream",
    )


def check_version(model: Model) -> None:
    """Check that the package of a model is installed, in the version that made the model's key.

    Raises
    ------
    MachineError
        When it is not; another machine may have it.
    """
    args = model.architecture_args
    try:
        version = _inspect(args["package"], None)["version"]
    except InputError as err:
        raise MachineError(err.message, fix=err.fix, **err.facts) from err
    if version != args["version"]:
        raise MachineError(
            "a calculator's package has another version here, which may compute something else",
            fix="install that version, or make the model anew",
            calculator=args["calculator"],
            wanted=args["version"],
            found=version,
        )


def _inspect(package: str, sha256: str | None) -> dict[str, Any]:
    """Return version and `owns_weights` of a package in its environment, without importing it."""
    python = python_of(package)
    question = {"package": package, "sha256": sha256, "path": places(python)}
    command = [python, calculator_process.__file__, "inspect", json.dumps(question)]
    reason = ""
    try:
        done = run_bound(command, environment=environment(python))
        found: dict[str, Any] = json.loads(done.stdout)
        reason = found.get("error", "")
    except OSError as err:
        reason = f"{python}: {err.strerror}"
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1][:300]
    if reason:
        raise InputError(
            "the package of a calculator is not in this environment",
            fix="install it there, or name its Python (LYCB_PYTHONS, or python: of the model)",
            package=package,
            python=python,
            reason=reason,
        )
    return found


def places(python: str) -> list[str]:
    """Return where a child looks for modules besides its own environment: as we do, or nowhere."""
    return [str(Path(place).absolute()) for place in sys.path] if python == sys.executable else []


def environment(python: str) -> dict[str, str]:
    """Return variables that a child gets; another environment does not see our packages."""
    return {} if python == sys.executable else {"PYTHONPATH": "", "PYTHONHOME": ""}
