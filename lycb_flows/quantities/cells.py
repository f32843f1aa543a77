"""Mean cells of NpT runs with their errors, and the thermal expansion that they tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from lycb_flows.config import RelaxationConfig, RunConfig
from lycb_flows.errors import PhysicsError
from lycb_flows.schemas import (
    CellAverage,
    Model,
    Relaxation,
    Run,
    Structure,
    ThermalExpansion,
    Vector,
)
from lycb_flows.store import ResultStore
from lycb_flows.transport.averages import MIN_TEMPERATURES, block_error, relative_slope

__all__ = [
    "MIN_TEMPERATURES",
    "at_rest_key",
    "average_cell",
    "thermal_expansion",
    "volume_at_rest",
]


def at_rest_key(model: str, structure: str) -> str:
    """Return the key of a structure's relaxation to 0 K and no pressure by a model.

    Parameters
    ----------
    model
        Key of the model.
    structure
        Key of the structure to begin with.
    """
    return Relaxation.key_of(structure, RelaxationConfig(), model=model)


def volume_at_rest(store: ResultStore, model: Model, structure: str) -> float | None:
    """Return the volume at 0 K and no pressure in Å^3 per atom; None where a model fails.

    It fails where the crystal flies apart, and where it does not come to rest. The relaxation is
    kept, with the cell at rest.

    Parameters
    ----------
    store
        Holds the structure and the model's weights.
    model
        What relaxes.
    structure
        Key of the structure to begin with.
    """
    from lycb_flows.potentials import load_potential  # noqa: PLC0415 - torch takes a while
    from lycb_flows.relaxation import relax  # noqa: PLC0415 - likewise

    def relaxed() -> Relaxation:
        potential, config = (
            load_potential(model, store.blobs.read(model.weights)),
            RelaxationConfig(),
        )
        found = relax(store.load(Structure, structure), potential, config)
        store.insert_all([found.structure])
        return found.document(config, model=model.key)

    try:
        found = store.once(Relaxation, at_rest_key(model.key, structure), relaxed, "relax to 0 K")
    except PhysicsError:
        return None
    return found.volume_ang3_per_atom if found.converged else None


def average_cell(store: ResultStore, run: Run, config: RunConfig, n_blocks: int) -> CellAverage:
    """Return the mean cell of an NpT run over its averaging window.

    Parameters
    ----------
    store
        Holds its trajectory.
    run
        The run.
    config
        What it was asked for.
    n_blocks
        Stretches whose means give the error.
    """
    from lycb_flows.md import averaging_window, cell_parameters  # noqa: PLC0415 - h5py takes a while
    from lycb_flows.store import trajectory_of  # noqa: PLC0415 - likewise

    if not run.health.healthy:
        reason = f"the run left physics at step {run.health.failed_step}"
        return _cell(run, reason=reason, equilibrated=False)
    frames = trajectory_of(store, run).between(*averaging_window(config.protocol, run.n_steps))
    lengths, angles = cell_parameters(frames.cells_ang)
    series = np.column_stack(
        [frames.volumes_ang3 / len(frames.species), lengths / np.array(config.repeat), angles]
    )
    facts = _named(series.mean(axis=0), "")
    reason = ""
    if frames.n_frames < 2 * n_blocks:
        reason = f"{frames.n_frames} frames are too few for {n_blocks} blocks"
    else:
        facts |= _named(block_error(series, n_blocks), "_err")
    return _cell(
        run, n_frames=frames.n_frames, equilibrated=run.equilibrated, reason=reason, **facts
    )


def _cell(run: Run, **facts: Any) -> CellAverage:  # noqa: ANN401 - fields of the document
    return CellAverage(run=run.key, temperature_k=run.temperature_k, **facts)


def _named(values: np.ndarray, suffix: str) -> dict[str, Any]:
    """Return volume, lengths and angles under the names of their fields."""
    volume, *parameters = values.tolist()
    return {
        f"volume{suffix}_ang3_per_atom": volume,
        f"lengths{suffix}_ang": tuple(parameters[:3]),
        f"angles{suffix}_deg": tuple(parameters[3:]),
    }


def thermal_expansion(cells: Sequence[CellAverage]) -> tuple[ThermalExpansion | None, str]:
    """Return the thermal expansion of a system at a pressure, or None and the reason.

    Only equilibrated runs with an error count.

    Parameters
    ----------
    cells
        Mean cells over temperature.
    """
    known = [c for c in cells if c.equilibrated and c.volume_err_ang3_per_atom]
    temperatures_k = sorted({cell.temperature_k for cell in known})
    if len(temperatures_k) < MIN_TEMPERATURES:
        noun = "temperature" if len(temperatures_k) == 1 else "temperatures"
        found = f"{len(temperatures_k)} {noun} with an equilibrated volume and its error"
        return None, f"{found}, two are needed"
    columns = np.array([_series(cell) for cell in known])  # (n, 4, 2)
    slopes = [
        relative_slope([cell.temperature_k for cell in known], column[:, 0], column[:, 1])
        for column in columns.transpose(1, 0, 2)
    ]
    volume, *lengths = slopes
    return ThermalExpansion(
        n_temperatures=len(temperatures_k),
        lowest_temperature_k=temperatures_k[0],
        highest_temperature_k=temperatures_k[-1],
        volume_per_k=volume.per_k,
        volume_err_per_k=volume.per_k_err,
        volume_chi2=volume.chi2,
        lengths_per_k=cast("Vector", tuple(slope.per_k for slope in lengths)),
        lengths_err_per_k=cast("Vector", tuple(slope.per_k_err for slope in lengths)),
    ), ""


def _series(cell: CellAverage) -> list[tuple[float, float]]:
    """Return (mean, error) of the volume and of a, b, c."""
    lengths = zip(cell.lengths_ang or (), cell.lengths_err_ang or (), strict=True)
    return [(cell.volume_ang3_per_atom or 0.0, cell.volume_err_ang3_per_atom or 0.0), *lengths]
