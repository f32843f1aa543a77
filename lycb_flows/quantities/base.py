"""The class of a measured quantity, which answers everything that the program needs of it.

A quantity says where it is measured, which runs and other quantities it rests on, the key of
its document, how it is computed and what it costs; then what a report shows of it. Jobs,
plan, status, results and report iterate over the quantities of a campaign and name none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

from lycb_flows.config import Campaign, Config, RunConfig
from lycb_flows.errors import InputError
from lycb_flows.quantities.costs import ForceCall
from lycb_flows.quantities.places import PLACES, Places, is_within, places_of
from lycb_flows.quantities.plan import Condition, MeasurementPlan, temperature_text
from lycb_flows.quantities.results import Number
from lycb_flows.report import Album, Cell, Part, ReportData, Section, Statement, Table, ours
from lycb_flows.schemas import Document, Run, make_key
from lycb_flows.store import ResultStore

D = TypeVar("D", bound=Document)
Scope = Literal["temperature", "pressure", "system", "campaign"]
_FIELDS_OF_SCOPE: Mapping[Scope, tuple[str, ...]] = {
    "temperature": ("system", "pressure_bar", "temperature_k", "replica"),
    "pressure": ("system", "pressure_bar"),
    "system": ("system",),
    "campaign": (),
}


class Quantity(ABC, Generic[D]):
    """A quantity that a campaign can measure; it has no state.

    Attributes
    ----------
    name
        What `measure.quantities` calls it.
    document
        The class of its documents: facts with a kind and a method version of their own.
    scope
        Where there is one document: at every temperature of a system and pressure (for every
        production run there: `measure.replicas`), for every system and pressure, for every system,
        or once in a campaign.
    ensembles
        The runs that it reads: 'npt' (they find the cell), 'nvt' (production), or none.
    needs
        The quantities whose documents it reads; they are measured first.
    uses
        Quantities whose documents it reads where the campaign names them, too.
    options
        The class of its own settings in `measure.quantities`, if it has any.
    category
        The kind of worker that computes it: 'light', 'gpu' or 'dft'.
    columns
        Headings of its table in a report; `row` fills them.
    of_mobile_ions
        Whether it is about the mobile ion, which every system must have then.
    shown_unmeasured
        Whether a report has its section, before those of the others, although the campaign does not
        measure it: the section then shows what is known without it.
    """

    name: ClassVar[str]
    document: type[D]
    scope: ClassVar[Scope]
    ensembles: ClassVar[tuple[Literal["npt", "nvt"], ...]] = ("nvt",)
    needs: ClassVar[tuple[type[Quantity[Any]], ...]] = ()
    uses: ClassVar[tuple[type[Quantity[Any]], ...]] = ()
    options: ClassVar[type[Config] | None] = None
    category: ClassVar[Literal["light", "gpu", "dft"]] = "light"
    columns: ClassVar[tuple[str, ...]] = ()
    of_mobile_ions: ClassVar[bool] = False
    shown_unmeasured: ClassVar[bool] = False

    # -- words ---------------------------------------------------------------------------

    @property
    def job(self) -> str:
        """First word of its jobs' names, and the step in their descriptions."""
        return self.name

    @property
    def work(self) -> str:
        """Name of its jobs in the plan of a campaign."""
        return self.name

    @property
    def noun(self) -> str:
        """Name of a single document of it."""
        return self.name

    @property
    def absence(self) -> str:
        """The sentence of a report in which nothing is measured yet."""
        return f"No {self.noun} yet."

    @property
    def status_name(self) -> str:
        """Name of its line in the status of a campaign."""
        return self.name

    @property
    def title(self) -> str:
        """Title of its section in a report."""
        return self.name.capitalize()

    @property
    def rests_on(self) -> str:
        """Role of a parent of its document, for the report when the parent is missing."""
        return "a run of production"

    # -- plan ----------------------------------------------------------------------------

    def check(self, campaign: Campaign, system: str, elements: set[str]) -> None:
        """Refuse what cannot be measured, before anything runs.

        Parameters
        ----------
        campaign
            About to be submitted.
        system
            One of its systems.
        elements
            The symbols of the elements in it.

        Raises
        ------
        InputError
            When the campaign asks for something impossible: a mobile ion that is not there.
        """
        species = campaign.measure.diffusion.mobile_species
        if self.of_mobile_ions and species not in elements:
            raise InputError(
                "the mobile species is not in the parent",
                fix="set measure.diffusion.mobile_species",
                system=system,
                found=species,
                elements=sorted(elements),
            )

    def settings(self, campaign: Campaign) -> Config | None:
        """Return its options in a campaign, defaults included; None where it has none."""
        given = (campaign.measure.quantities or {}).get(self.name, {})
        own = {name: value for name, value in given.items() if name != PLACES}
        return None if self.options is None else self.options.model_validate(own)

    def models(self, campaign: Campaign) -> tuple[str, ...]:
        """Return the models that its option `models` names, if it has one.

        A campaign that is submitted keeps them, and has their keys in place of names and files.
        """
        return tuple(getattr(self.settings(campaign), "models", None) or ())

    def conditions(self, plan: MeasurementPlan) -> list[Condition]:
        """Return where it is measured, in order.

        They are the places of the plan where it and all that it needs is measured, without what
        its scope does not distinguish.
        """
        fields = set(_FIELDS_OF_SCOPE[self.scope])
        limits = list(self.limited_to(plan.campaign))
        found = (place for place in plan.places() if is_within(place, limits))
        places = (place.model_dump(include=fields) for place in found)
        return list(dict.fromkeys(Condition.model_validate(place) for place in places))

    def limited_to(self, campaign: Campaign) -> Iterator[Places]:
        """Yield the places that `places` limits it to, and those of each quantity that it needs."""
        own = places_of(campaign, self.name)
        if own is not None:
            yield own
        for needed in self.needs:
            yield from needed().limited_to(campaign)

    def runs(self, plan: MeasurementPlan, condition: Condition) -> tuple[RunConfig, ...]:
        """Return the runs that it reads at a condition.

        Parameters
        ----------
        plan
            The measurement.
        condition
            One of its conditions.
        """
        return tuple(run for ensemble in self.ensembles for run in plan.runs(ensemble, condition))

    def needed_keys(self, plan: MeasurementPlan, condition: Condition) -> tuple[str, ...]:
        """Return the keys of the documents of other quantities that it reads at a condition.

        Parameters
        ----------
        plan
            The measurement.
        condition
            One of its conditions.
        """
        named = plan.campaign.measure.quantities or {}
        used = [kind for kind in self.uses if kind.name in named]
        return tuple(
            needed.key(plan, where)
            for needed in (kind() for kind in (*self.needs, *used))
            for where in needed.conditions(plan)
            if where.meets(condition)
        )

    def key(self, plan: MeasurementPlan, condition: Condition) -> str:
        """Return the key of its document.

        It follows from the runs and documents that the quantity reads, and from its options. A
        quantity that reads anything else must put that into its key as well.

        Parameters
        ----------
        plan
            The measurement.
        condition
            One of its conditions.
        """
        return make_key(
            self.document,
            runs=[Run.key_of(run) for run in self.runs(plan, condition)],
            documents=list(self.needed_keys(plan, condition)),
            options=self.settings(plan.campaign),
        )

    def cost_s(
        self,
        plan: MeasurementPlan,  # noqa: ARG002 - for those that cost more
        condition: Condition,  # noqa: ARG002
        n_atoms: Mapping[str, int],  # noqa: ARG002
        force_call_s: ForceCall,  # noqa: ARG002
    ) -> float:
        """Return the estimated cost of a document in CPU seconds, without its runs.

        Parameters
        ----------
        plan
            The measurement. Its keys may stand for results that do not exist yet.
        condition
            One of its conditions.
        n_atoms
            Atoms in the production cell of each system.
        force_call_s
            CPU seconds per atom of a force call by a model.
        """
        return 1.0

    # -- work ----------------------------------------------------------------------------

    def only_run(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> Run:
        """Return the run that it reads at a condition, where it reads a single one.

        Parameters
        ----------
        store
            Holds the run.
        plan
            The measurement.
        condition
            One of its conditions.
        """
        (run,) = self.runs(plan, condition)
        return store.load(Run, Run.key_of(run))

    @abstractmethod
    def compute(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> D:
        """Return its document at a condition.

        Parameters
        ----------
        store
            Holds the runs and the documents that it reads. Further results that are worth
            keeping are made with `store.once`.
        plan
            The measurement.
        condition
            One of its conditions.
        """

    def further_keys(self, plan: MeasurementPlan) -> tuple[str, ...]:  # noqa: ARG002
        """Return the keys of results beside its documents that a report shows, by default none.

        Parameters
        ----------
        plan
            The measurement.
        """
        return ()

    def make_further(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> None:
        """Make those of a condition; they may be absent although its document is there.

        Parameters
        ----------
        store
            Holds what they are made from. They are stored with `store.once`.
        plan
            The measurement.
        condition
            One of its conditions.
        """

    def documents(self, store: ResultStore, plan: MeasurementPlan) -> Iterator[D]:
        """Yield its documents that exist, in the order of the plan.

        Parameters
        ----------
        store
            Holds them.
        plan
            The measurement.
        """
        keys = [self.key(plan, condition) for condition in self.conditions(plan)]
        for document in store.find_documents(keys):
            if isinstance(document, self.document):
                yield document

    def place(self, document: D) -> str:
        """Return where a finished document was measured, with all that its scope distinguishes."""
        place = {name: getattr(document, name, None) for name in _FIELDS_OF_SCOPE[self.scope]}
        return Condition.model_validate(place).title or "done"

    def numbers(self, document: D) -> Iterator[Number]:  # noqa: ARG002 - for those with numbers
        """Yield what `lycb results` shows of a document: numbers with their errors."""
        yield from ()

    # -- report --------------------------------------------------------------------------

    def row(self, document: D) -> tuple[str, ...]:  # noqa: ARG002 - for those with columns
        """Return the texts of a document under `columns`, in their order."""
        return ()

    def section(self, data: ReportData, album: Album) -> Section:
        """Return its chapter in a report, by default a part for each system.

        Parameters
        ----------
        data
            What the report rests on; `data.measured(self.document)` are its documents.
        album
            Keeps the figures.
        """
        parts = tuple(self.part(data, album, system) for system in self.systems(data))
        return Section(self.name, self.title, () if parts else (self.absence,), parts)

    def systems(self, data: ReportData) -> list[str]:
        """Return the systems that its chapter has a part for."""
        documents = data.measured(self.document)
        return list(dict.fromkeys(getattr(document, "system", "") for document in documents))

    def part(self, data: ReportData, album: Album, system: str) -> Part:  # noqa: ARG002 - see below
        """Return what a report says of a system, by default a table.

        Parameters
        ----------
        data
            What the report rests on.
        album
            Keeps figures: `album.show(name, figure, caption)`. Import matplotlib inside the
            function that draws.
        system
            The system, or the composition that was made from it.
        """
        table = Table("", self._headings(), tuple(self._rows(data, system)))
        return Part(system, tables=(table,))

    def _headings(self) -> tuple[str, ...]:
        names = {"temperature_k": "T (K)", "pressure_bar": "p (bar)"}
        places = [names[name] for name in _FIELDS_OF_SCOPE[self.scope] if name in names]
        return (*reversed(places), *self.columns)

    def _rows(self, data: ReportData, system: str) -> Iterator[tuple[Cell, ...]]:
        fields = _FIELDS_OF_SCOPE[self.scope]
        names = [name for name in fields if name not in {"system", "replica"}]
        for document in data.measured(self.document):
            if getattr(document, "system", "") == system:
                places = [f"{getattr(document, name):g}" for name in reversed(names)]
                if "temperature_k" in names:
                    places[0] = temperature_text(document)
                yield ours(document.key, (*places, *self.row(document)))

    def headline(self, data: ReportData) -> str | None:  # noqa: ARG002 - most have none
        """Return the first sentence of a report; None, as by default, leaves it to others."""
        return None

    def findings(self, data: ReportData) -> Iterator[Statement]:  # noqa: ARG002
        """Yield what can be concluded."""
        yield from ()

    def doubts(self, data: ReportData) -> Iterator[Statement]:  # noqa: ARG002
        """Yield what cannot be concluded at all, which a report lists first of its weaknesses."""
        yield from ()

    def limits(self, data: ReportData) -> Iterator[Statement]:  # noqa: ARG002
        """Yield what limits the numbers that exist, which a report lists last."""
        yield from ()
