"""What a report says of sites and densities, from documents made by hand."""

import numpy as np
import pytest

from lycb_flows.config import Campaign
from lycb_flows.errors import InputError, StoreError
from lycb_flows.quantities import find_quantity
from lycb_flows.quantities.maps import density_figure, occupancy_figure
from lycb_flows.quantities.sites import IonSites
from lycb_flows.report import FolderAlbum, ReportData
from lycb_flows.schemas import Blob, Density, SiteOrbit, Sites, SiteStep
from lycb_flows.transport.density import DensityGrid, grid_bytes

BLOB = Blob(sha256="a" * 64, size=1, media_type="application/x-npz")


def orbit(label, occupancy, error, refined, **facts):
    return SiteOrbit(
        label=label, from_parent=refined is not None, shape="octahedral", n_sites=12,
        refined_occupancy=refined, occupancy=occupancy, occupancy_err=error, n_departures=0,
        **facts,
    )  # fmt: skip


def measured(temperature_k=500.0, **facts):
    return Sites(
        **{
            "key": f"{temperature_k:g}", "run": "r", "model": "m", "system": "LYC",
            "pressure_bar": 1.0, "temperature_k": temperature_k, "mobile_species": "Li",
            "density": "d", "n_mobile": 18, "percolates_in": 3, "percolating_share": 1.0,
            "orbits": (orbit("Li0", 0.86, 0.02, 0.875), orbit("Li1", 0.64, 0.02, 0.625)),
            "steps": (),
            **facts,
        }
    )  # fmt: skip


def texts(statements):
    return [statement.text for statement in statements]


def data_of(*documents):
    return ReportData(measurements={"sites": list(documents)})


def test_it_is_said_how_far_jumps_lead():
    chain = measured(400.0, percolates_in=1, percolation_direction=(0, 0, 1))
    layers = measured(450.0, percolates_in=2, percolation_direction=(0, 0, 1))
    stuck = measured(300.0, percolates_in=0)
    (text,) = texts(IonSites().findings(data_of(stuck, chain, layers, measured())))
    assert text == (
        "LYC 1 bar: jumps of Li lead through the crystal in no dimension at 300 K, "
        "1 dimension (along [0 0 1] of the cell) at 400 K, 2 dimensions in the planes (0 0 1) of "
        "the cell at 450 K, 3 dimensions at 500 K."
    )
    assert texts(IonSites().findings(data_of(measured(percolates_in=None)))) == []


def test_occupancies_that_say_nothing_or_differ_are_named():
    assert texts(IonSites().limits(data_of(measured()))) == []
    still = measured(300.0, orbits=(orbit("Li0", 1.0, None, 0.875), orbit("Li1", 0.5, None, 0.6)))
    far = measured(400.0, orbits=(orbit("Li0", 0.6, 0.02, 0.875), orbit("Li1", 0.9, 0.1, 0.62)))
    astray = measured(700.0, parent_note="the framework is not on the parent's sites")
    found = texts(IonSites().limits(data_of(still, far, astray)))
    start, differs, alone = found
    assert start.endswith("the occupancies are those of the start: LYC 1 bar 300 K.")
    assert differs.startswith("LYC 1 bar 400 K: the occupancy of Li0 is more than 3 standard")
    assert alone.endswith("the framework is not on the parent's sites: LYC 1 bar 700 K.")


def test_a_crystal_with_one_kind_of_site_has_no_run_that_is_too_short():
    alone = measured(orbits=(orbit("Li0", 0.5, None, 0.5, residence_low_ps=90.0),))
    assert texts(IonSites().limits(data_of(alone))) == []


def test_tables_show_the_simulation_beside_the_refinement(tmp_path):
    step = SiteStep(
        start="Li0", end="Li1", sharing="face", length_ang=3.02, n_jumps=40, rate_per_ns=8.0,
        rate_err_per_ns=1.2,
    )  # fmt: skip
    stays = {"residence_ps": 42.0, "residence_err_ps": 1.9}
    hot = measured(
        steps=(step,),
        orbits=(
            orbit("Li0", 0.86, 0.02, 0.875, **stays),
            orbit("tetrahedral 1", 0.04, 0.01, None, residence_low_ps=7.0),
        ),
    )
    section = IonSites().section(data_of(measured(400.0), hot), FolderAlbum(tmp_path))
    (part,) = section.blocks
    occupancies, steps, network = part.tables
    assert [cell.text for cell in occupancies.rows[2]] == [
        "500", "1", "Li0", "octahedral", "12", "0.860 ± 0.020", "42.0 ± 1.9", "0", "0.875",
    ]  # fmt: skip
    assert [cell.text for cell in occupancies.rows[3]][-3:] == ["> 7.00", "0", "–"]
    assert [cell.text for cell in steps.rows[0]][2:] == [
        "Li0 → Li1", "face", "3.02", "40", "8.0 ± 1.2",
    ]  # fmt: skip
    assert network.rows[1][5].text == "3 dimensions"
    assert [figure.name for figure in part.figures] == ["sites-LYC-at-1-bar"]
    cold = IonSites().section(data_of(measured()), FolderAlbum(tmp_path))
    assert cold.blocks[0].figures == ()  # a temperature alone is no curve


def grid_of_a_monoclinic_cell():
    lattice = np.array([[7.0, 0, 0], [0, 12.0, 0], [-2.4, 0, 6.5]])
    counts = np.zeros((35, 60, 33), dtype=np.int64)
    counts[5, 10, 20] = 30
    framework = np.array([[0.0, 0.0, 0.0], [0.25, 0.5, 0.24], [0.5, 0.5, 0.5]])
    return DensityGrid(lattice, counts, 30, "Li", framework, ("Y", "Br", "P"))


def test_a_map_shows_ions_and_framework_where_they_are():
    grid = grid_of_a_monoclinic_cell()
    panels = density_figure(grid).axes[:3]
    point = np.array([5 / 35, 10 / 60, 20 / 33]) @ grid.lattice_ang
    beta = np.arccos(-2.4 / np.hypot(2.4, 6.5))
    unit_c = grid.lattice_ang[2] / np.linalg.norm(grid.lattice_ang[2])
    unit_x = np.array([1.0, 0, 0]) - unit_c[0] * unit_c
    expected = [
        (point @ unit_x / np.linalg.norm(unit_x), point[1]),  # along c: a is foreshortened
        (point[0], point[2]),
        (point[1], point[2]),
    ]
    assert panels[0].get_xlim()[1] == pytest.approx(7.0 * np.sin(beta))
    for axes, place in zip(panels, expected, strict=True):
        mesh = axes.collections[0]
        corners = mesh.get_coordinates().reshape(-1, 2)
        brightest = corners[np.argmax(mesh.get_array())]
        assert brightest.tolist() == pytest.approx(list(place), abs=0.15)
    yttrium = next(c for c in panels[1].collections if c.get_label() == "Y")
    assert len(yttrium.get_offsets()) == 4  # at all corners
    assert len(occupancy_figure([measured(400.0), measured()]).axes[0].lines) >= 4


def test_the_map_nearest_to_the_papers_temperature_is_shown(tmp_path):
    content = grid_bytes(grid_of_a_monoclinic_cell())
    densities = [
        Density(
            key=f"{t:g}", run="r", model="m", system="LYB", pressure_bar=1.0, temperature_k=t,
            mobile_species="Li", n_mobile=1, n_frames=30, shape=(35, 60, 33), integral=1.0,
            max_per_ang3=2.0, volume_share_90=0.1, grid=BLOB,
        )
        for t in (400.0, 550.0, 700.0)
    ]  # fmt: skip
    data = ReportData(measurements={"density": densities}, read={BLOB: content}.__getitem__)
    (part,) = find_quantity("density").section(data, FolderAlbum(tmp_path)).blocks
    assert [figure.name for figure in part.figures] == ["density-LYB-at-1-bar-and-550-K"]
    assert len(part.tables[0].rows) == 3
    assert [cell.text for cell in part.tables[0].rows[0]][2:6] == [
        "35 × 60 × 33", "1.00", "2.00", "10.0",
    ]  # fmt: skip
    with pytest.raises(StoreError, match="no store"):
        ReportData().read(BLOB)


def test_a_mixed_halide_belongs_to_its_system_and_an_unknown_ion_is_refused():
    campaign = Campaign(
        name="mixed",
        systems=[
            {"name": "LYC", "parent": "Li3YCl6", "decorations": [{"x": 1.5}]},
            {"name": "LYC-x3", "parent": "Li3YBr6"},
        ],
    )
    assert campaign.system_of("LYC-x1.5").parent == "Li3YCl6"
    assert campaign.system_of("LYC-x3").parent == "Li3YBr6"
    for name in ("density", "sites"):
        with pytest.raises(InputError, match="mobile species"):
            find_quantity(name).check(campaign, "LYC", {"Na", "Y", "Cl"})
