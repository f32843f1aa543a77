"""A search over batch size, epochs, learning rate and frozen layers, on validation labels only.

Random combinations of the values (Bergstra and Bengio, J. Mach. Learn. Res. 13, 281 (2012)) are
trained in full and compared by `ModelErrors.score`. The one with the lowest is chosen; its errors
on the validation labels are too small by the choice, and only labels that took no part, the test
labels, judge it. Spreads are standard errors of a bootstrap over validation labels that all
trials share.

>>> configs, n_combinations = trial_configs(TrainingConfig(), TuningConfig())
>>> best, *others = tune(potential, training, validation, configs, raw_pbe=False)
>>> best.settings, best.trained.weights
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import TrainingConfig, TuningConfig
from lycb_flows.learning import (
    LabelledStructure,
    TrainedModel,
    fine_tune,
    is_clearly_above,
    model_errors,
    resampled_errors,
)
from lycb_flows.machine import duration_text
from lycb_flows.potentials import Potential, require_trainable
from lycb_flows.schemas import ModelErrors

_SEARCHED = ("batch_size", "epochs", "learning_rate", "freeze_level")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """A training with one combination of settings.

    Attributes
    ----------
    config
        Its settings.
    errors
        Of its weights on the validation labels.
    scores
        `ModelErrors.score` on each resample of the validation labels, shape (resamples,).
    cpu_s
        CPU time of the training.
    trained
        The model.
    """

    config: TrainingConfig
    errors: ModelErrors
    scores: Array
    cpu_s: float
    trained: TrainedModel

    @property
    def settings(self) -> dict[str, float]:
        """What a search changes, by the names of a campaign's `training`."""
        return {name: getattr(self.config, name) for name in _SEARCHED}

    @property
    def score_error(self) -> float | None:
        """Standard error of the score, from a bootstrap over validation labels; None: too few."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) else None

    def is_as_good_as(self, best: Trial) -> bool:
        """Return whether the score is not clearly above another trial's.

        Parameters
        ----------
        best
            The other trial.
        """
        difference = self.errors.score - best.errors.score
        return not is_clearly_above(self.scores, best.scores, difference)


def tune(
    potential: Potential,
    training: Sequence[LabelledStructure],
    validation: Sequence[LabelledStructure],
    configs: Sequence[TrainingConfig],
    *,
    raw_pbe: bool,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Trial]:
    """Train with several settings, and return the trials by their score on the validation labels.

    The best is the first. Equal seeds and thread counts give the same order.

    Parameters
    ----------
    potential
        The parent of every training, which is not changed.
    training
        Labels that weights are fitted to.
    validation
        Labels that choose.
    configs
        Settings of each trial, e.g. from `trial_configs`.
    raw_pbe
        Whether the labels are uncorrected PBE (see `shift_reference`).
    tell
        Called before each training with a line that says how far the search is.

    Raises
    ------
    InputError, PhysicsError
        As `fine_tune`.
    """
    parent = require_trainable(potential)
    trials, began = list[Trial](), time.monotonic()
    for place, config in enumerate(configs):
        tell(_line(place, configs, time.monotonic() - began))
        started_cpu_s = time.process_time()
        trained = fine_tune(parent, training, validation, config, raw_pbe=raw_pbe)
        cpu_s = time.process_time() - started_cpu_s
        errors, scores = _judged(parent.with_weights(trained.weights), validation)
        trials.append(Trial(config, errors, scores, cpu_s, trained))
    return sorted(trials, key=lambda trial: trial.errors.score)


def _judged(child: Potential, validation: Sequence[LabelledStructure]) -> tuple[ModelErrors, Array]:
    """Return the errors of a child, and its score on each resample of the labels."""
    points = child.predict([label.structure for label in validation])
    scores = np.array([errors.score for errors in resampled_errors(validation, points)])
    return model_errors(validation, points), scores


def trial_configs(first: TrainingConfig, search: TuningConfig) -> tuple[list[TrainingConfig], int]:
    """Return the settings of each trial, and the number of combinations they are drawn from.

    Parameters
    ----------
    first
        Settings of the first trial; what is not searched is that of all, and its seed draws them.
    search
        Values, and the number of trials.
    """
    own = tuple(getattr(first, name) for name in _SEARCHED)
    values = (getattr(search, name) for name in _SEARCHED)
    others = [each for each in dict.fromkeys(itertools.product(*values)) if each != own]
    order = np.random.default_rng(first.seed).permutation(len(others))[: search.trials - 1]
    drawn = [others[place] for place in order]
    changed = [dict(zip(_SEARCHED, each, strict=True)) for each in drawn]
    return [first, *(first.model_copy(update=each) for each in changed)], 1 + len(others)


def _line(place: int, configs: Sequence[TrainingConfig], passed_s: float) -> str:
    """Return what is trained now and how long the rest will take; cost goes with epochs."""
    settings = ", ".join(f"{name} {getattr(configs[place], name):g}" for name in _SEARCHED)
    line = f"trial {place + 1} of {len(configs)}: {settings}"
    done = sum(config.epochs for config in configs[:place])
    if not done:
        return line
    left = sum(config.epochs for config in configs[place:])
    return f"{line}; about {duration_text(passed_s * left / done)} left"
