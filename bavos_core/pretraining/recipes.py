"""Which learner follows from which settings."""

from __future__ import annotations

from typing import Any

from .cooccurrence import CooccurrenceLearner
from .distillation import Distillation
from .learner import Learner
from .settings import CooccurrenceSettings, PretrainSettings, RunSettings

_RECIPES: dict[type[RunSettings], Any] = {
    PretrainSettings: Distillation,
    CooccurrenceSettings: CooccurrenceLearner,
}


def new_learner(settings: RunSettings) -> Learner[Any]:
    """A learner before its first step."""
    learner: Learner[Any] = _RECIPES[type(settings)](settings)
    return learner


def settings_type(recipe: str) -> type[RunSettings] | None:
    """The settings of the recipe with this name, or None when there is none."""
    return next((kind for kind, made in _RECIPES.items() if made.recipe == recipe), None)
