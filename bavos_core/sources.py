"""Sources of attention: which queries are compared with which keys, and the choice among them.

T frames, H heads of d channels, N patches a frame, C = H·d.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .attention import AttentionRows, centred_unit, key_frames, perplexity_scale
from .backbones import Features
from .correlator import TemporalCorrelator, untrained
from .download import local_file
from .errors import InputError
from .settings import Settings, Sources
from .trained import TrainedBlock, read_trained


@dataclass(frozen=True)
class Projection:
    """Queries and keys of one source of attention for all analysed frames."""

    queries: Tensor  # (T, H, N, d) float32
    keys: Tensor  # (T, H, N, d) float32
    scale: float

    def only(self, head: int) -> Projection:
        """One head of it."""
        one = slice(head, head + 1)
        return Projection(self.queries[:, one], self.keys[:, one], self.scale)


def choose_source(
    settings: Settings, channels: int, preferred: Sources
) -> tuple[Sources, TrainedBlock | None]:
    """Return the attention to cluster, and the trained block if that is its source.

    preferred: the backbone's own choice, where the settings make none.
    Raise InputError for a correlator file that does not arrive or fit the backbone.
    """
    match settings.correlator:
        case "auto":
            return preferred, None
        case "cross-frame" | "keys" | "untrained" as chosen:
            return chosen, None
        case file:
            path = local_file(file)
    block = read_trained(path)
    check_channels(block, channels, settings.backbone, path.name)
    return "learned", block


def check_channels(block: TrainedBlock, channels: int, backbone: str, name: str) -> None:
    if block.channels != channels:
        raise InputError(
            f"{name} was trained on features of {block.channels} channels, and "
            f"{backbone} gives {channels}; choose the backbone that it was made for."
        )


def attention_rows(
    features: Features, source: Sources, block: TrainedBlock | None, settings: Settings
) -> AttentionRows:
    """The rows to cluster: every patch against the patches of the key frames."""
    tokens = features.tokens
    if source == "keys":
        found = project_keys(tokens, settings)
    elif source == "cross-frame":
        found = Projection(features.queries, features.keys, features.scale)
    else:
        used = block or untrained(features.channels, seed=settings.seed)
        found = project(used.to(tokens.device), tokens)
    chosen = key_frames(len(tokens), settings.key_every)
    return AttentionRows(found.queries, found.keys[chosen], found.scale)


def project(block: TemporalCorrelator | TrainedBlock, tokens: Tensor) -> Projection:
    """Queries and keys of a correlator for tokens (T, N, C)."""
    queries, keys = block.queries_keys(tokens)
    return Projection(queries, keys, block.scale)


def project_keys(tokens: Tensor, settings: Settings) -> Projection:
    """Training-free attention: mean-free, unit-length keys at the clip's own temperature."""
    unit = centred_unit(tokens)
    chosen = key_frames(len(tokens), settings.key_every)
    return Projection(unit, unit, perplexity_scale(unit, unit[chosen]))
