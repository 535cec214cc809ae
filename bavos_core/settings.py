"""All settings that affect a result, and the paper's constants (section 3 and appendix).

Frozen dataclasses with a type check of forty lines: pydantic would add a dependency, and code that
turns its error reports into sentences, without making this shorter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import torch

from bavos_io.download import FileOrUrl, file_or_url, shown

from .compat import current_source
from .errors import InputError, echo

PAPER_SIZE = (320, 480)  # pixels fed to the encoder, height × width
PAPER_KEY_RATIO = 10  # every 10th frame is a key frame
PAPER_TAU = 1.0  # symmetric KL below which two rows are one cluster
WINDOW = 3  # frames that are clustered together first

SAMPLED_KEY_RATIO = 5  # sampled frames lie further apart than the paper's
FRAMES_ON_CPU = 24
FRAMES_ON_CUDA = 80
GRID_PATCHES = 1152  # patches per frame unless a size is given: 24×48, or as suits the clip
MOST_PATCHES = 2**16  # per frame; more would need hundreds of GiB
MOST_PIXELS = 2**24  # fed to the backbone

Precision = Literal["fp32", "bf16"]
AttentionSource = Literal["framewise", "cross-frame", "untrained", "correlator", "key-similarity"]
SOURCES: tuple[AttentionSource, ...] = get_args(AttentionSource)

SomeSettings = TypeVar("SomeSettings", bound="EncoderSettings")


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Settings of a backbone: checked when they are made, and written as JSON.

    The base of `Settings` and of the training's settings.
    """

    backbone: str = "auto"  # a name from bavos_core.backbones.names(), or timm's
    layer: int | None = None  # block whose keys are used, from 0; None: the backbone's own choice
    weights: FileOrUrl | None = None  # state dict of the backbone; None: local cache, then hub
    size: tuple[int, int] | None = None  # (height, width) fed to the backbone; None: see grid_size

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            check(_fits(value, kind), f"{name} is {echo(value)}; {_remedy(kind)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values."""
        return {**asdict(self), "weights": str(self.weights) if self.weights else None}

    def as_shown(self) -> dict[str, Any]:
        """Return `to_dict` as anybody may see it: sources without folders and secrets."""
        known, sources = self.to_dict(), ("weights", "correlator")
        return known | {name: shown(known[name]) for name in sources if known.get(name)}

    @classmethod
    def from_dict(cls: type[SomeSettings], values: dict[str, Any]) -> SomeSettings:
        """Restore settings from `to_dict`. Raise InputError for anything else."""
        check(isinstance(values, dict), f"settings are names with values, not {echo(values)}")
        unknown = set(values) - {f.name for f in fields(cls)}
        names = ", ".join(sorted(map(str, unknown)))
        check(not unknown, f"unknown settings: {names:.100}")
        given = dict(values)
        if isinstance(given.get("weights"), str):
            given["weights"] = file_or_url(given["weights"]) if given["weights"] else None
        if isinstance(given.get("size"), list):
            given["size"] = tuple(given["size"])
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class Settings(EncoderSettings):
    """Settings of an analysis. Every field has a default; invalid values raise InputError."""

    # "auto" (what suits the backbone), "cross-frame", "key-similarity", "untrained",
    # or the file or URL of a trained correlator
    correlator: str = "auto"
    frames: int | None = None  # frames analysed, spread evenly; None: 24 on CPU, 80 on CUDA
    patches: int = GRID_PATCHES  # per frame, approximately, unless a size is given
    key_ratio: int | None = None  # every r-th analysed frame is a key frame; None: 5, exact 10
    tau: float = PAPER_TAU  # where the hierarchy is cut, symmetric KL
    exact: bool = False  # the paper's exact procedure: float32, nearest-neighbour masks
    refine: bool | None = None  # edge-refine the masks; None: unless exact
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision | None = None  # None: bf16 where the processor multiplies it natively
    seed: int = 0  # of the untrained correlator

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "correlator", current_source(self.correlator))
        check(0 < self.tau < float("inf"), f"tau is {self.tau}; it must be a number above 0")
        none = self.frames is not None and self.frames < 1
        check(not none, f"frames is {echo(self.frames)}; give 1 or more")
        valid = 1 <= self.patches <= MOST_PATCHES
        check(valid, f"patches is {echo(self.patches)}; give 1 to {MOST_PATCHES:,}")
        few = self.key_ratio is not None and self.key_ratio < 1
        check(not few, f"the key ratio is {echo(self.key_ratio)}; give 1 or more")
        empty = self.size is not None and min(self.size) < 1
        check(not empty, f"the size is {echo(self.size)}; give height and width, as in 192x384")
        large = self.size is not None and self.size[0] * self.size[1] > MOST_PIXELS
        check(not large, f"the size has more than {MOST_PIXELS:,} pixels; give a smaller one")
        check_seed(self.seed)

    @property
    def refined(self) -> bool:
        """Whether masks are up-sampled softly and refined along image edges."""
        return not self.exact if self.refine is None else self.refine

    @property
    def key_every(self) -> int:
        """The key ratio r that applies."""
        return self.key_ratio or (PAPER_KEY_RATIO if self.exact else SAMPLED_KEY_RATIO)


@dataclass(frozen=True)
class Compute:
    """Device and precision of a run."""

    device: torch.device
    precision: Precision

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @classmethod
    def choose(cls, settings: Settings) -> Compute:
        """Resolve "auto". Raise InputError when CUDA is asked for and there is none."""
        has_cuda = torch.cuda.is_available()
        missing = settings.device == "cuda" and not has_cuda
        check(not missing, "this machine has no CUDA device; choose --device cpu or auto")
        device = torch.device("cuda" if has_cuda and settings.device != "cpu" else "cpu")
        native_bf16 = device.type == "cuda" or bool(bf16_units())
        default: Precision = "bf16" if native_bf16 and not settings.exact else "fp32"
        return cls(device, settings.precision or default)

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the large matrix products."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


def grid_size(clip_size: tuple[int, int], patch: int, settings: Settings) -> tuple[int, int]:
    """Return the patch grid (h, w) for a clip of (height, width) pixels.

    A given size is rounded to whole patches. Otherwise the exact mode uses the paper's 320×480, and
    the default is a grid of about `patches` patches in the shape of the clip, so that portrait
    clips are not squashed and the cost does not depend on the clip.
    """
    size = settings.size or (PAPER_SIZE if settings.exact else None)
    if size:
        h, w = (max(1, round(side / patch)) for side in size)
        few = h * w <= MOST_PATCHES
        check(few, f"the size has {h}×{w} patches, of at most {MOST_PATCHES:,}; make it smaller")
        return h, w
    height, width = clip_size
    h = max(1, round((settings.patches * height / width) ** 0.5))
    return h, max(1, round(settings.patches / h))


def bf16_units() -> list[str]:
    """Return the units with which this processor multiplies bfloat16, under torch's names."""
    ask = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch lack it
    capabilities = ask() if ask else {}
    return [unit for unit in ("amx_bf16", "avx512_bf16") if capabilities.get(unit)]


def check_seed(seed: int) -> None:
    """Raise InputError for a seed that random generators do not accept."""
    check(0 <= seed < 2**63, f"seed is {echo(seed)}; give 0 or more, of at most 18 digits")


def _fits(value: object, kind: Any) -> bool:
    """Return whether a value has an annotated type; whole numbers are floats as well."""
    inside = get_args(kind)
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in inside
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, one) for one in inside)
    if get_origin(kind) is tuple:
        fit = isinstance(value, tuple) and len(value) == len(inside)
        return fit and all(map(_fits, cast(tuple[object, ...], value), inside))
    if kind is float:
        return isinstance(value, float) or (_fits(value, int) and abs(cast(int, value)) < 2**53)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _remedy(kind: Any) -> str:
    """Return the advice for a value of another type."""
    inside = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is Literal:
        return f"choose {' or '.join(inside)}"
    if get_origin(kind) in (Union, UnionType):
        return _remedy(inside[0])
    return f"give {_WORDS.get(get_origin(kind) or kind, 'a path')}"


_WORDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a word",
    tuple: "two whole numbers",
}  # fmt: skip


def check(valid: bool, message: str) -> None:
    """Raise InputError unless valid; the message comes without its capital and full stop."""
    if not valid:
        raise InputError(message[0].upper() + message[1:] + ".")
