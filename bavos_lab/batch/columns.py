"""The columns of a manifest: which clip, and its settings."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, get_args, get_type_hints

from bavos_core import backbones
from bavos_core.errors import InputError
from bavos_core.options import seconds, size
from bavos_core.settings import Settings

from .contents import CORRELATORS
from .rows import Item

_CLIP = ("path", "clip", "url")
_PART = ("start", "end")
_FILES = ("weights", "correlator")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Columns:
    """The columns of one manifest that mean something."""

    clip: str
    given: tuple[str, ...]  # settings, and the part of the clip
    ignored: tuple[str, ...]
    settings: Settings  # where a row says nothing

    @classmethod
    def of(cls, row: Mapping[str, Any], settings: Settings) -> Columns:
        """Find the columns of a manifest by one of its rows. Raise InputError without a clip."""
        clip = next((name for name in _CLIP if name in row), None)
        if clip is None:
            have = ", ".join(map(str, row)) or "none"
            raise InputError(f"The manifest has no column path, but {have:.200}; name it so.")
        known = {*(field.name for field in fields(Settings)), *_PART}
        given = tuple(name for name in row if name in known)
        ignored = tuple(name for name in row if name not in known and name != clip)
        return cls(clip, given, ignored, settings)

    def item(self, row: Mapping[str, Any], absolute: Callable[[str], str]) -> Item:
        """Return the clip of a row; what is wrong with the row is its problem.

        absolute: makes a path of the manifest absolute and leaves a URL as it is.
        """
        name = str(row.get(self.clip) or "").strip()
        source = absolute(name) if name else ""
        try:
            if not name:
                raise InputError(f"The row has no {self.clip}; fill it in.")
            values = {name: _value(name, row[name]) for name in self.given if _filled(row[name])}
            part = {name: values.pop(name) for name in _PART if name in values}
            for file in _FILES:
                if file in values and values[file] not in CORRELATORS:
                    values[file] = absolute(values[file])
            return Item(source=source, settings=_with(self.settings, values), **part)
        except InputError as error:
            return Item(source=source, settings=self.settings, problem=str(error))


def _with(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return settings with other values; `auto` and aliases name no backbone for long."""
    if not values:
        return settings
    changed = Settings.from_dict({**settings.to_dict(), **values})
    if "backbone" not in values:
        return changed
    return replace(changed, backbone=_resolved(changed.backbone, changed.weights is not None))


@cache  # it may ask the network
def _resolved(name: str, has_weights: bool) -> str:
    return backbones.resolve(name, weights="given" if has_weights else None)[0]


def _filled(value: object) -> bool:
    """Return whether a cell holds something; an empty number of Parquet may be NaN."""
    return not (value is None or value == "" or (isinstance(value, float) and math.isnan(value)))


def _value(name: str, cell: object) -> Any:
    """Return a cell of a CSV or Parquet file as the value of a setting. Raise InputError."""
    text = "x".join(map(str, cell)) if isinstance(cell, list | tuple) else str(cell).strip()
    kind = float if name in _PART else _kind(name)
    try:
        if name in _PART:
            return seconds(text)
        if name == "size":
            return size(text)
        if kind is bool:
            return _WORDS[text.lower()]
        if kind is int:
            return int(text.removesuffix(".0"))  # Parquet's columns with gaps are of floats
        return float(text) if kind is float else text
    except (ValueError, KeyError, argparse.ArgumentTypeError):
        raise InputError(f"The column {name} holds {text[:40]!r}; correct it.") from None


def _kind(name: str) -> Any:
    """Return the type of a setting that is not None."""
    hint = get_type_hints(Settings)[name]
    inside = [kind for kind in get_args(hint) if kind in (bool, int, float)]
    return inside[0] if inside else hint
