"""What is said of barriers and conductivities, from runs made by hand."""

import numpy as np
import pytest

from lycb_flows import schemas
from lycb_flows.quantities.conclusions import result_text
from lycb_flows.report import ReportData
from lycb_flows.transport.arrhenius import fit_arrhenius
from lycb_flows.transport.arrhenius_points import ArrheniusPoint
from lycb_flows.units import BOLTZMANN_EV_PER_K

TEMPERATURES_K = (450.0, 500.0, 550.0, 600.0)


def transport(temperature_k, replica=None):
    d = 1e-7 * float(np.exp(-0.25 / (BOLTZMANN_EV_PER_K * temperature_k)))
    estimate = schemas.DiffusionEstimate(
        regime="diffusive", most_likely_m2_per_s=d, event_m2_per_s=d / 100,
        diffusivity_m2_per_s=d, diffusivity_err_m2_per_s=0.1 * d, diffusivity_log_err=0.1,
        effective_hops=100.0, max_msd_ang2=50.0, plateau_msd_ang2=0.1,
    )  # fmt: skip
    return schemas.Transport(
        key=f"{temperature_k:g} {replica}", run="r", model="m", system="LYC", replica=replica,
        temperature_k=temperature_k, pressure_bar=1.0, volume_ang3_per_atom=24.0,
        mobile_species="Li", n_mobile=18, n_atoms=60, duration_ps=200.0, lags_ps=(1.0,),
        msd_ang2=(1.0,), framework_msd_ang2=(1.0,), estimate=estimate, healthy=True,
    )  # fmt: skip


def result_of(transports, wanted_k=300.0):
    points = [ArrheniusPoint(t.temperature_k, t.estimate) for t in transports]
    fit = fit_arrhenius(points, wanted_k, 0.02)
    document = schemas.Arrhenius(
        key="k", system="LYC", pressure_bar=1.0, model="m", transports=[t.key for t in transports],
        **vars(fit),
    )  # fmt: skip
    data = ReportData(documents={t.key: t for t in transports})
    return result_text(data, document)


@pytest.mark.parametrize(
    ("wanted_k", "words"),
    [
        (300.0, "extrapolated 150 K below the coldest measured run, 450 K: 12.9 per eV"),
        (450.0, "within the measured temperatures"),
        (600.0, "within the measured temperatures"),
        (900.0, "extrapolated 300 K above the hottest measured run, 600 K: 6.45 per eV"),
    ],
)
def test_a_conductivity_outside_the_measured_temperatures_is_called_extrapolated(wanted_k, words):
    assert words in result_of([transport(t) for t in TEMPERATURES_K], wanted_k)


@pytest.mark.parametrize(
    ("replicas", "words"),
    [
        ((None,), "eV from 4 temperatures ("),
        ((None, 2, 3), "eV from 12 runs at 4 temperatures ("),
    ],
)
def test_runs_are_called_runs_and_temperatures_temperatures(replicas, words):
    assert words in result_of([transport(t, n) for t in TEMPERATURES_K for n in replicas])
