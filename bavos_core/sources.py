"""Sources of attention: which queries are compared with which keys, and the choice among them.

T frames, H heads of d channels, N patches a frame, C = H·d.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bavos_io.download import local_file

from .attention import AttentionRows, centred_unit, key_frames, perplexity_scale
from .backbones import Features
from .correlator import TrainedCorrelator, read_correlator, untrained
from .errors import InputError
from .settings import AttentionSource, Settings


@dataclass(frozen=True)
class Projection:
    """Queries and keys of one source of attention for all analysed frames."""

    queries: Tensor  # (T, H, N, d) float32
    keys: Tensor  # (T, H, N, d) float32
    scale: float

    def only(self, head: int) -> Projection:
        """Return the queries and keys of one head."""
        one = slice(head, head + 1)
        return Projection(self.queries[:, one], self.keys[:, one], self.scale)


def choose_source(
    settings: Settings, channels: int, preferred: AttentionSource
) -> tuple[AttentionSource, TrainedCorrelator | None]:
    """Return the attention to cluster, and the trained correlator if that is its source.

    preferred: the backbone's own choice, where the settings make none.
    Raise InputError for a correlator file that does not arrive or fit the backbone.
    """
    match settings.correlator:
        case "auto":
            return preferred, None
        case "cross-frame" | "key-similarity" | "untrained" as chosen:
            return chosen, None
        case file:
            path = local_file(file)
    correlator = read_correlator(path)
    check_channels(correlator, channels, settings.backbone, path.name)
    return "correlator", correlator


def check_channels(correlator: TrainedCorrelator, channels: int, backbone: str, name: str) -> None:
    """Raise InputError if a correlator was trained on features of another number of channels."""
    if correlator.channels != channels:
        raise InputError(
            f"{name} was trained on features of {correlator.channels} channels, and "
            f"{backbone} gives {channels}; choose the backbone that it was made for."
        )


def projection(
    features: Features,
    source: AttentionSource,
    correlator: TrainedCorrelator | None,
    settings: Settings,
) -> Projection:
    """Return the queries and keys of a source; correlator: the one of the source `correlator`."""
    match source:
        case "framewise" | "cross-frame":
            return Projection(features.queries, features.keys, features.scale)
        case "key-similarity":
            return project_keys(features.tokens, settings)
    used = (correlator or untrained(features.channels, seed=settings.seed)).to(features.keys.device)
    return Projection(*used.queries_keys(features.tokens), used.scale)


def attention_rows(
    features: Features,
    source: AttentionSource,
    correlator: TrainedCorrelator | None,
    settings: Settings,
) -> AttentionRows:
    """Return the rows to cluster: every patch against the patches of the key frames."""
    found = projection(features, source, correlator, settings)
    chosen = key_frames(len(found.queries), settings.key_every)
    return AttentionRows(found.queries, found.keys[chosen], found.scale)


def project_keys(tokens: Tensor, settings: Settings) -> Projection:
    """Return mean-free, unit-length keys at the clip's own temperature: training-free attention."""
    unit = centred_unit(tokens)
    chosen = key_frames(len(tokens), settings.key_every)
    return Projection(unit, unit, perplexity_scale(unit, unit[chosen]))
