"""Jobs that turn production runs into diffusivities and conductivities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jobflow import Maker

from lycb_flows import schemas
from lycb_flows.campaign.measurement import MeasurementPlan
from lycb_flows.config import DiffusionConfig, RunConfig
from lycb_flows.jobs.resources import open_store, static_job
from lycb_flows.schemas import Produced
from lycb_flows.store import ResultStore
from lycb_flows.store.trajectories import trajectory_of
from lycb_flows.transport import arrhenius, diffusion
from lycb_flows.units import PS_FS


@dataclass(kw_only=True)
class TransportMaker(Maker):
    """D and conductivity from one production run."""

    name: str = "transport"
    plan: MeasurementPlan
    system: str
    pressure_bar: float
    temperature_k: float

    @static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Transport."""
        del after  # order only
        store = open_store()
        key = self.plan.transport_key(self.system, self.pressure_bar, self.temperature_k)
        store.once(schemas.Transport, key, lambda: self._compute(store, key), self.name)
        return Produced(kind=schemas.Transport.kind, keys=(key,))

    def _compute(self, store: ResultStore, key: str) -> schemas.Transport:
        config = self.plan.nvt_run(self.system, self.pressure_bar, self.temperature_k)
        run = store.load(schemas.Run, schemas.Run.key_of(config))
        diffusion_config = self.plan.campaign.measure.diffusion
        failure = _failure(store, run)
        result = _analyse(store, run, config, diffusion_config, failure)
        return schemas.Transport(
            key=key,
            parents=(run.key,),
            run=run.key,
            model=run.model,
            system=self.system,
            temperature_k=self.temperature_k,
            pressure_bar=self.pressure_bar,
            mobile_species=diffusion_config.mobile_species,
            healthy=not failure,
            **vars(result),
        )


def _failure(store: ResultStore, run: schemas.Run) -> str:
    """Why a production run says nothing about its condition; empty when it does.

    A run whose NpT left physics has no cell of that temperature and pressure.
    """
    before = store.find_document(run.start)
    chain = (("run", run), ("NpT run that was to find its cell", before))
    for name, one in chain:
        if isinstance(one, schemas.Run) and not one.health.healthy:
            return f"the {name} left physics at step {one.health.failed_step}: {one.health.reason}"
    return ""


def _analyse(
    store: ResultStore,
    run: schemas.Run,
    config: RunConfig,
    diffusion_config: DiffusionConfig,
    failure: str,
) -> diffusion.DiffusionResult:
    """What a production run says about transport; nothing, when it failed."""
    start = store.load(schemas.Structure, run.start_structure)
    mobile_mask = np.array(start.species) == diffusion_config.mobile_species
    if failure:
        return diffusion.unmeasured(mobile_mask, np.array(start.lattice_ang), failure)
    return diffusion.analyse_diffusion(
        trajectory_of(store, run).unwrapped_ang(),
        frame_interval_ps=config.protocol.sample_interval_steps * run.time_step_fs / PS_FS,
        mobile_mask=mobile_mask,
        lattice_ang=start.lattice_ang,
        temperature_k=run.temperature_k,
        config=diffusion_config,
    )


@dataclass(kw_only=True)
class ArrheniusMaker(Maker):
    """Barrier, prefactor and extrapolated conductivity of one system at one pressure."""

    name: str = "arrhenius"
    plan: MeasurementPlan
    system: str
    pressure_bar: float

    @static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Arrhenius document."""
        del after  # order only
        store = open_store()
        key = self.plan.arrhenius_key(self.system, self.pressure_bar)
        store.once(schemas.Arrhenius, key, lambda: self._compute(store, key), self.name)
        return Produced(kind=schemas.Arrhenius.kind, keys=(key,))

    def _compute(self, store: ResultStore, key: str) -> schemas.Arrhenius:
        transports = [
            store.load(
                schemas.Transport,
                self.plan.transport_key(self.system, self.pressure_bar, temperature_k),
            )
            for temperature_k in self.plan.temperatures_k
        ]
        config = self.plan.campaign.measure
        fit = arrhenius.fit_arrhenius(
            [arrhenius.ArrheniusPoint(one.temperature_k, one.estimate) for one in transports],
            config.extrapolation_temperature_k,
            _mobile_density_per_ang3(transports, config.extrapolation_temperature_k),
            config.diffusion.charge_number,
        )
        return schemas.Arrhenius(
            key=key,
            parents=tuple(one.key for one in transports),
            system=self.system,
            pressure_bar=self.pressure_bar,
            model=transports[0].model,
            transports=tuple(one.key for one in transports),
            **vars(fit),
        )


def _mobile_density_per_ang3(
    transports: Sequence[schemas.Transport], temperature_k: float
) -> float:
    """Mobile ions per Å^3 at a temperature: of the coldest cell, or by a line through all.

    The line (thermal expansion) needs three temperatures. Cells of failed runs count only
    where there are no others.
    """
    transports = [one for one in transports if one.healthy] or transports
    temperatures = [one.temperature_k for one in transports]
    volumes = [one.volume_ang3_per_atom * one.n_atoms / one.n_mobile for one in transports]
    if len(set(temperatures)) < arrhenius.MIN_POINTS:
        return 1 / volumes[int(np.argmin(temperatures))]
    return 1 / float(np.polyval(np.polyfit(temperatures, volumes, 1), temperature_k))
