"""A random walk in a crystal, and the files of other programs that have it."""

import numpy as np
from ase.calculators.lammps import Prism

from lycb_flows.md.export import export_trajectory
from lycb_flows.md.trajectory import Trajectory, write_trajectory
from lycb_flows.testing import lattice_walkers

SPECIES = ("Li",) * 10 + ("Y",) * 3 + ("Cl",) * 7
CELL_ANG = np.array([[12.0, 0.0, 0.0], [-3.0, 11.0, 0.0], [1.0, 2.0, 13.0]])
DIFFUSIVITY_M2_PER_S = 2e-9
STEP_FS, EVERY = 2.0, 100
FRAME_FS = STEP_FS * EVERY


def walk(*, n_frames=200, seed=0, breathes=False, first_step=0):
    """Ten ions that hop by 3 Å, ten that vibrate, and all drift; in a cell that may breathe."""
    rng = np.random.default_rng(seed)
    duration_ps = (n_frames - 1) * FRAME_FS / 1000
    moved = np.concatenate(
        [
            lattice_walkers(n, diffusivity, duration_ps, FRAME_FS / 1000, seed + k)
            for k, (n, diffusivity) in enumerate([(10, DIFFUSIVITY_M2_PER_S), (10, 0.0)])
        ],
        axis=1,
    )
    moved += np.linspace(0, 3, n_frames)[:, None, None] * np.array([4.0, -2.0, 1.0])
    starts = rng.random((len(SPECIES), 3))
    strain = (
        0.004 * rng.standard_normal((n_frames, 1, 1))
        + np.linspace(0, 0.03, n_frames)[:, None, None]
    )
    cells = CELL_ANG * (1 + strain * breathes)
    frac = starts + moved @ np.linalg.inv(CELL_ANG)
    return Trajectory(
        species=SPECIES,
        time_step_fs=STEP_FS,
        steps=first_step + EVERY * np.arange(n_frames),
        frac_coords=frac.astype(np.float32),
        cells_ang=cells,
        potential_energy_ev=np.zeros(n_frames),
        temperature_k=np.full(n_frames, 600.0),
        stress_gpa=np.zeros((n_frames, 3, 3)),
    )


def write_walk(trajectory, path):
    """Write a walk as our HDF5, as VASP does, or as `lycb export` does."""
    if path.suffix == ".h5":
        path.write_bytes(write_trajectory(trajectory))
    elif path.suffix == ".xml":
        path.write_text(vasprun(trajectory))
    elif path.name == "XDATCAR":
        path.write_text(xdatcar(trajectory))
    else:
        export_trajectory(trajectory, path)
    return path


DUMPS = {
    "x y z ix iy iz": ("wrapped", "images"),
    "xs ys zs ix iy iz": ("scaled", "images"),
    "xsu ysu zsu": ("unwrapped scaled",),
    "xu yu zu": ("unwrapped",),
    "xs ys zs": ("scaled",),
    "x y z": ("wrapped",),
}


def write_dump(trajectory, path, columns, *, names="id type element", seed=1):
    """Write a LAMMPS dump with these columns, the atoms of every frame in another order."""
    rng = np.random.default_rng(seed)
    kinds = {symbol: kind for kind, symbol in enumerate(dict.fromkeys(trajectory.species), 1)}
    lines = []
    for step, frac, cell in zip(
        trajectory.steps, trajectory.frac_coords.astype(float), trajectory.cells_ang, strict=True
    ):
        lx, ly, lz, xy, xz, yz = Prism(cell).get_lammps_prism()
        box = np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
        low = np.array([1.0, -2.0, 0.5])
        bounds = (
            (low[0] + min(0, xy, xz, xy + xz), low[0] + lx + max(0, xy, xz, xy + xz), xy),
            (low[1] + min(0, yz), low[1] + ly + max(0, yz), xz),
            (low[2], low[2] + lz, yz),
        )
        images = np.floor(frac)
        values = {
            "unwrapped": frac @ box + low,
            "unwrapped scaled": frac,
            "wrapped": (frac - images) @ box + low,
            "scaled": frac - images,
            "images": images.astype(int),
        }
        lines += [
            f"ITEM: TIMESTEP\n{step}",
            f"ITEM: NUMBER OF ATOMS\n{len(frac)}",
            "ITEM: BOX BOUNDS xy xz yz pp pp pp",
            *(f"{first:.12g} {last:.12g} {tilt:.12g}" for first, last, tilt in bounds),
            f"ITEM: ATOMS {names} {columns}",
        ]
        for atom in rng.permutation(len(frac)):
            symbol = trajectory.species[atom]
            known = {"id": atom + 1, "type": kinds[symbol], "element": symbol}
            numbers = np.concatenate([values[kind][atom] for kind in DUMPS[columns]])
            lines.append(
                " ".join(
                    map(str, [*(known[n] for n in names.split()), *(f"{x:.9g}" for x in numbers)])
                )
            )
    path.write_text("\n".join(lines) + "\n")
    return path


def xdatcar(trajectory):
    """Return an XDATCAR as VASP writes it: wrapped, with the cell in every frame if it changes."""
    counts = {symbol: trajectory.species.count(symbol) for symbol in trajectory.species}
    names, numbers = " ".join(counts), " ".join(map(str, counts.values()))
    breathes = (trajectory.cells_ang != trajectory.cells_ang[0]).any()
    lines = []
    for number, (cell, frac) in enumerate(
        zip(trajectory.cells_ang, trajectory.frac_coords.astype(float) % 1.0, strict=True), start=1
    ):
        if breathes or number == 1:
            rows = ["  {:11.6f} {:11.6f} {:11.6f}".format(*row) for row in cell]
            lines += ["unknown system", "           1", *rows, f"   {names}", f"   {numbers}"]
        lines.append(f"Direct configuration={number:6d}")
        lines += ["  {:11.8f} {:11.8f} {:11.8f}".format(*row) for row in frac]
    return "\n".join(lines) + "\n"


def vasprun(trajectory, incar="IBRION=0 POTIM=200 NBLOCK=1 TEBEG=600 TEEND=600"):
    """Return the XML of a run with these frames, as VASP writes it."""

    def vectors(name, rows):
        inner = "\n".join("<v> {:.8f} {:.8f} {:.8f} </v>".format(*row) for row in rows)
        return f'<varray name="{name}" >\n{inner}\n</varray>'

    settings = "".join('<i name="{}">{}</i>'.format(*word.split("=")) for word in incar.split())
    atoms = "".join(f"<rc><c>{symbol:2}</c><c>1</c></rc>" for symbol in trajectory.species)
    steps = [
        "<calculation><structure><crystal>"
        + vectors("basis", cell)
        + "</crystal>"
        + vectors("positions", frac % 1.0)
        + "</structure>"
        + vectors("forces", 0 * frac)
        + "</calculation>"
        for cell, frac in zip(
            trajectory.cells_ang, trajectory.frac_coords.astype(float), strict=True
        )
    ]
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling><incar>'
        + settings
        + '</incar><parameters><separator name="ionic">'
        + settings
        + '</separator></parameters><atominfo><array name="atoms"><set>'
        + atoms
        + "</set></array></atominfo>"
        + "\n".join(steps)
        + "\n</modeling>\n"
    )
