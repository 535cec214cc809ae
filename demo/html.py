"""HTML that the page shows: the list of objects and attention in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from bavos_core import Analysis, Edit, Segmentation

from . import strings
from .drawing import query_colour
from .edits import Edits
from .images import Query


def object_list(cut: Segmentation, edits: Edits, thumbnails: Mapping[int, str]) -> str:
    """Return the clusters as an HTML list, each with picture, colour, size and controls."""
    share = np.bincount(cut.labels.ravel(), minlength=cut.clusters) / cut.labels.size
    unseen = edits.unseen(cut)

    def row(i: int) -> str:
        name = escape(cut.name(i), quote=True)
        frames = int((cut.labels == i).any((1, 2)).sum())
        looks, other = "", "object"
        if not cut.background[i]:
            hidden, alone, other = i in unseen, edits.is_alone(cut, i), "background"
            looks = _button("hide", i, name, "Show" if hidden else "Hide", pressed=hidden)
            looks += _button("alone", i, name, "Only this", pressed=alone)
        return (
            f'<li class="{"unseen" if i in unseen else ""}">'
            f'<i style="background:rgb{cut.colour(i)}"></i>'
            f'<img src="{thumbnails[i]}" alt="{name}">'
            f'<input data-action="name" data-id="{i}" value="{name}" aria-label="Name of {name}">'
            f"<small>{share[i]:.1%} of the area, {frames} frames</small>"
            f"<div>{looks}{_button('split', i, name, 'Split')}"
            f'<select data-action="merge" data-id="{i}" aria-label="Merge {name} into">'
            '<option value="">Merge…</option></select>'
            f"{_button('role', i, name, f'Make {other}', value=other)}</div></li>"
        )

    background = [i for i in cut.present if cut.background[i]]
    return (
        f"<p>{_step('undo', edits.edits, cut)}{_step('redo', edits.undone, cut)}</p>"
        f'<ul class="bavos-objects">{"".join(map(row, cut.objects))}</ul>'
        f"<details><summary>Background ({len(background)})</summary>"
        f'<ul class="bavos-objects">{"".join(map(row, background))}</ul></details>'
        f"<p>{strings.OBJECTS}</p>"
    )


def _button(
    action: str, i: int, name: str, label: str, *, value: str = "", pressed: bool | None = None
) -> str:
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    return (
        f'<button data-action="{action}" data-id="{i}" data-value="{value}" '
        f'aria-label="{label}: {name}"{state}>{label}</button>'
    )


def _step(action: str, edits: Sequence[Edit], cut: Segmentation) -> str:
    """Return the button that undoes or redoes the last edit."""
    if not edits:
        return f'<button data-action="{action}" disabled>{action.capitalize()}</button>'
    last = edits[-1]
    elsewhere = "" if last.at in (None, cut.cut) else f" (at {last.at} clusters)"
    label = f"{action.capitalize()} {strings.CHANGES[last.action]}{elsewhere}"
    return f'<button data-action="{action}">{label}</button>'


def attention(analysis: Analysis, rows: np.ndarray, queries: Sequence[Query]) -> str:
    """Return attention rows (Q, T, h, w) as HTML: numbers, and bars of the share per frame."""
    return "".join(
        _attention(analysis, row, query, i if len(rows) > 1 else None)
        for i, (row, query) in enumerate(zip(rows, queries, strict=True))
    )


def _attention(analysis: Analysis, row: np.ndarray, query: Query, number: int | None) -> str:
    probabilities = row[row > 0]
    entropy = float(-(probabilities * np.log(probabilities)).sum())
    dot = (
        ""
        if number is None
        else f'<i class="dot" style="background:rgb{query_colour(number)}"></i>'
    )
    height, width = analysis.size
    y, x = int(query[1] * row.shape[1] / height), int(query[2] * row.shape[2] / width)
    return (
        f"<p>{dot}Patch in row {y}, column {x} of frame {query[0]}: {row[query[0]].sum():.1%} of "
        f"its attention stays in that frame (uniform attention: {1 / len(row):.1%}); "
        f"{strings.term(f'entropy {entropy:.2f} nats', strings.ENTROPY)}, as for a uniform "
        f"distribution over {math.exp(entropy) / row.size:.0%} of all patches.</p>"
        f"{_bars(row.sum((1, 2)))}"
    )


def _bars(shares: np.ndarray) -> str:
    """Return a bar chart (SVG) of the share of attention that each frame receives."""
    high, wide = 36, 8
    top = max(float(shares.max()), 1e-9)
    bars = "".join(
        f'<rect x="{wide * t}" y="{high * (1 - s / top):.1f}" width="{wide - 1}" '
        f'height="{high * s / top:.1f}"><title>Frame {t}: {s:.1%}</title></rect>'
        for t, s in enumerate(shares.tolist())
    )
    label = f"Share of attention per frame, at most {top:.1%}"
    return (
        f'<svg class="bavos-bars" viewBox="0 0 {wide * len(shares)} {high}" '
        f'preserveAspectRatio="none" role="img" aria-label="{label}">{bars}</svg>'
        f"<small>{label}</small>"
    )
