"""Everything that decides a result, in one frozen object.

The paper's constants stand here once (paper, section 3 and appendix; reference code).
"""

from __future__ import annotations

import reprlib
from dataclasses import asdict, dataclass, field, fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import torch

from .compat import SOURCES as OLD_SOURCES
from .compat import current
from .download import FileOrUrl, file_or_url
from .errors import InputError

PAPER_SIZE = (320, 480)  # pixels fed to the encoder, height × width
PAPER_KEY_RATIO = 10  # every 10th frame is a key frame
PAPER_TAU = 1.0  # symmetric KL below which two rows are one cluster
WINDOW = 3  # frames that are merged together first

SAMPLED_KEY_RATIO = 5  # analysed frames of a sampled clip lie further apart than the paper's
FRAMES_ON_CPU = 24
FRAMES_ON_CUDA = 80
GRID_PATCHES = 1152  # patches a frame when no size is given: 24×48, shaped like the clip

Precision = Literal["fp32", "bf16"]
AttentionSource = Literal["framewise", "cross-frame", "untrained", "correlator", "key-similarity"]
SOURCES: tuple[AttentionSource, ...] = (
    "framewise",
    "cross-frame",
    "untrained",
    "correlator",
    "key-similarity",
)


SomeSettings = TypeVar("SomeSettings", bound="JsonSettings")


@dataclass(frozen=True, kw_only=True)
class JsonSettings:
    """Settings that are checked when they are made and can be written as JSON."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            check(_fits(value, kind), f"{name} is {reprlib.repr(value)[:80]}; {_remedy(kind)}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls: type[SomeSettings], values: dict[str, Any]) -> SomeSettings:
        """Settings from `to_dict`; unknown names and anything else raise InputError."""
        check(isinstance(values, dict), f"settings are names with values, not {values!r:.50}")
        unknown = set(values) - {f.name for f in fields(cls)}
        names = ", ".join(sorted(map(str, unknown)))
        check(not unknown, f"unknown settings: {names:.100}")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(JsonSettings):
    """What settings share that use a backbone; JSON holds it in another form."""

    backbone: str = "auto"  # a name from bavos_core.backbones.names(), or timm's
    layer: int | None = None  # block whose keys are used, from 0; None: the backbone's own choice
    weights: FileOrUrl | None = None  # state dict of the backbone; None: local cache, then hub
    size: tuple[int, int] | None = None  # (height, width) fed to the backbone; None: see grid_size

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        return {**super().to_dict(), "weights": str(self.weights) if self.weights else None}

    @classmethod
    def from_dict(cls: type[SomeSettings], values: dict[str, Any]) -> SomeSettings:
        """Settings from `to_dict`; unknown names and anything else raise InputError."""
        check(isinstance(values, dict), f"settings are names with values, not {values!r:.50}")
        given = dict(values)
        if isinstance(given.get("weights"), str):
            given["weights"] = file_or_url(given["weights"]) if given["weights"] else None
        if isinstance(given.get("size"), list):
            given["size"] = tuple(given["size"])
        return super().from_dict(given)  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Settings(EncoderSettings):
    """What to run and how. Every field has a default; invalid values raise InputError."""

    # "auto" (what suits the backbone), "cross-frame", "key-similarity", "untrained",
    # or the file or URL of a trained correlator
    correlator: str = "auto"
    frames: int | None = None  # frames analysed, spread evenly; None: 24 on CPU, 80 on CUDA
    patches: int = GRID_PATCHES  # about as many a frame has, where no size is given
    key_ratio: int | None = None  # every r-th analysed frame is a key frame; None: 5, exact 10
    tau: float = PAPER_TAU  # where the hierarchy is cut, symmetric KL
    exact: bool = False  # the paper's procedure to the letter: float32, nearest-neighbour masks
    refine: bool | None = None  # edge-refine the masks; None: unless exact
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision | None = None  # None: bf16 where the processor multiplies it natively
    seed: int = 0  # of the untrained block

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "correlator", current(self.correlator, OLD_SOURCES))
        check(0 < self.tau < float("inf"), f"tau is {self.tau}; it must be a number above 0")
        check(self.frames is None or self.frames >= 1, f"frames is {self.frames}; give 1 or more")
        check(self.patches >= 1, f"patches is {self.patches}; give 1 or more")
        check(
            self.key_ratio is None or self.key_ratio >= 1,
            f"the key ratio is {self.key_ratio}; give 1 or more",
        )
        check(
            self.size is None or min(self.size) >= 1,
            f"the size is {self.size}; give height and width in pixels, such as 192x384",
        )
        check_seed(self.seed)

    @property
    def refined(self) -> bool:
        """Whether masks are up-sampled softly and refined along image edges."""
        return not self.exact if self.refine is None else self.refine

    @property
    def key_every(self) -> int:
        """The key ratio r in force."""
        return self.key_ratio or (PAPER_KEY_RATIO if self.exact else SAMPLED_KEY_RATIO)


@dataclass(frozen=True)
class Compute:
    """Where and how precisely to compute, decided once per run."""

    device: torch.device
    precision: Precision
    on_cuda: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "on_cuda", self.device.type == "cuda")

    @classmethod
    def choose(cls, settings: Settings) -> Compute:
        """Resolve "auto". Raises InputError when CUDA is asked for and there is none."""
        has_cuda = torch.cuda.is_available()
        check(
            settings.device != "cuda" or has_cuda,
            "this machine has no CUDA device; choose --device cpu or auto",
        )
        device = torch.device("cuda" if has_cuda and settings.device != "cpu" else "cpu")
        native_bf16 = device.type == "cuda" or bool(bf16_units())
        default: Precision = "bf16" if native_bf16 and not settings.exact else "fp32"
        return cls(device, settings.precision or default)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the large matrix products."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


def grid_size(clip_size: tuple[int, int], patch: int, settings: Settings) -> tuple[int, int]:
    """Patch grid (h, w) for a clip of (height, width) pixels.

    A given size is rounded to whole patches. Otherwise the exact mode takes the paper's 320×480,
    and the default a grid of about `patches` patches in the clip's own shape, so that a portrait
    clip is not squashed and the cost does not depend on the clip.
    """
    size = settings.size or (PAPER_SIZE if settings.exact else None)
    if size:
        return max(1, round(size[0] / patch)), max(1, round(size[1] / patch))
    height, width = clip_size
    h = max(1, round((settings.patches * height / width) ** 0.5))
    return h, max(1, round(settings.patches / h))


def bf16_units() -> list[str]:
    """What this processor multiplies bfloat16 with natively, under torch's names."""
    ask = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch lack it
    capabilities = ask() if ask else {}
    return [unit for unit in ("amx_bf16", "avx512_bf16") if capabilities.get(unit)]


def check_seed(seed: int) -> None:
    """Raise InputError for a seed that no random generator takes."""
    check(0 <= seed < 2**63, f"seed is {reprlib.repr(seed)}; give 0 or more, of at most 18 digits")


def _fits(value: object, kind: Any) -> bool:
    """Whether a value is of an annotated type, a whole number being a float as well."""
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
    """What to do about a value that does not fit."""
    inside = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is Literal:
        return f"choose {' or '.join(inside)}"
    if get_origin(kind) in (Union, UnionType):
        return _remedy(inside[0])
    return f"give {_WORDS.get(get_origin(kind) or kind, 'a path')}"


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    tuple: "two whole numbers",
}


def check(valid: bool, message: str) -> None:
    """Raise InputError with a message that lacks its capital and its full stop, if not valid."""
    if not valid:
        raise InputError(message[0].upper() + message[1:] + ".")
