"""Render Bavos' example clips, with exact instance masks, from nothing but this file.

    python assets/make_examples.py [--out DIR] [--only NAME] [--spp N] [--frames N]

Why render clips instead of collecting them: they are ours to publish, they are small, and the
renderer knows which object every pixel shows, so each clip comes with a perfect ground truth.
Everything is procedural (numpy textures, parametric meshes, the Mitsuba 3 path tracer) and
seeded, so one machine always writes the same bytes. Mitsuba is a development dependency only.

Conventions: x is right, y is away from the camera, z is up; `t` runs from 0 to 1 over a clip.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imageio.v2 as imageio
import mitsuba as mi
import numpy as np
from PIL import Image
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter

mi.set_variant("scalar_rgb")
mi.set_log_level(mi.LogLevel.Error)

WIDTH, HEIGHT, FPS = 432, 240, 12
FRAMES, SPP = 40, 36
GRID = 3  # every pixel is rendered as GRID x GRID sub-pixels: k in the shape comments
TEXTURE_SIDE = 1024
ENCODER = "-crf 20 -preset slow -threads 1 -movflags +faststart -fflags +bitexact -flags +bitexact"

Pose = mi.ScalarTransform4f
Vec = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One mesh in the picture; parts with the same id form one object, id 0 is scenery."""

    mesh: str
    material: str
    pose: Pose
    object_id: int = 0


@dataclass(frozen=True)
class Shot:
    """One instant of a clip: where the camera is and what stands in front of it."""

    eye: Vec
    target: Vec
    parts: list[Part]


@dataclass(frozen=True)
class Light:
    """Radiance of the surrounding, which fills shadows, and of a lamp, which casts them."""

    sky: Vec
    sun: Vec
    sun_at: Vec

    def emitters(self) -> dict:
        lamp = Pose().look_at(self.sun_at, [0, 0, 0], [0, 0, 1]) @ Pose().scale([2, 2, 1])
        sky, sun = ({"type": "rgb", "value": list(rgb)} for rgb in (self.sky, self.sun))
        glow = {"type": "area", "radiance": sun}
        return {
            "sky": {"type": "constant", "radiance": sky},
            "lamp": {"type": "rectangle", "to_world": lamp, "emitter": glow},
        }


@dataclass(frozen=True)
class Example:
    """A clip: its words for the gallery and a function from time to what is seen."""

    name: str
    title: str
    caption: str
    objects: tuple[str, ...]  # objects[i] has id i + 1
    shot: Callable[[float], Shot]
    light: Light


# ------------------------------------------------------------------------------------- textures


def noise(seed: int, down: float, right: float) -> np.ndarray:
    """Return smooth tileable noise in [0, 1], [S, S]; `down`, `right` are grain sizes in pixels."""
    white = np.random.default_rng(seed).standard_normal((TEXTURE_SIDE, TEXTURE_SIDE))
    smooth = gaussian_filter(white, (down, right), mode="wrap")
    return np.clip(0.5 + smooth / (4 * smooth.std()), 0, 1)


def mix(dark: str, light: str, weight: np.ndarray) -> np.ndarray:
    """Blend two colours ("rrggbb") with a weight map [S, S] into a picture [S, S, 3]."""
    low, high = (np.array(list(bytes.fromhex(c)), float) for c in (dark, light))
    return low + (high - low) * weight[..., None]


def over(below: np.ndarray, color: str, where: np.ndarray) -> np.ndarray:
    """Paint one colour over a picture [S, S, 3] with opacity `where` [S, S]."""
    return below + (mix(color, color, where) - below) * where[..., None]


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Return texture coordinates u (right) and v (down), both [S, S] in [0, 1)."""
    axis = (np.arange(TEXTURE_SIDE) + 0.5) / TEXTURE_SIDE
    return np.meshgrid(axis, axis)


def dots(across: int, down: int, radius: float) -> np.ndarray:
    """Draw polka dots [S, S]; `radius` in cells, odd rows are shifted by half a cell."""
    u, v = grid()
    row = np.floor(v * down)
    x = (u * across + 0.5 * (row % 2)) % 1 - 0.5
    y = v * down - row - 0.5
    return (x**2 + y**2 < radius**2).astype(float)


def stripes(coordinate: np.ndarray, count: int, share: float = 0.5) -> np.ndarray:
    """Draw bands along a coordinate map [S, S] in [0, 1); `share` of each period is 1."""
    return (coordinate * count % 1 < share).astype(float)


def plain(dark: str, light: str, seed: int = 61, down: float = 6, right: float = 6) -> np.ndarray:
    """Return a material of almost one colour, [S, S, 3]."""
    return mix(dark, light, noise(seed, down, right))


def grass() -> np.ndarray:
    lawn = mix("3d6b25", "8fb84a", 0.6 * noise(1, 4, 0.8) + 0.4 * noise(2, 14, 14))
    return over(lawn, "b9cc5e", 0.4 * noise(3, 60, 60) ** 2)


def planks(dark: str, light: str, count: int, seed: int) -> np.ndarray:
    """Draw wooden boards that run along v, each with its own tint, grain and a dark joint."""
    u, _ = grid()
    board = np.floor(u * count).astype(int)
    tint = np.random.default_rng(seed).random(count)[board]
    wood = mix(dark, light, 0.45 * noise(seed, 90, 3) + 0.2 * noise(seed + 1, 30, 1) + 0.35 * tint)
    return over(wood, "2a1a10", 0.8 * stripes(u, count, 0.035))


def bricks(columns: int, rows: int) -> np.ndarray:
    u, v = grid()
    row = np.floor(v * rows)
    x, y = (u * columns + 0.5 * (row % 2)) % 1, v * rows - row
    clay = mix("7d7f86", "b9b4ab", 0.6 * noise(11, 14, 20) + 0.4 * noise(12, 2, 2))
    joint = ((x < 0.05) | (y < 0.1)).astype(float)
    return over(clay, "565760", gaussian_filter(joint, 1.5))


def sand() -> np.ndarray:
    """Draw rippled sea floor under a net of light, as a wavy surface focuses it."""
    _, v = grid()
    ripple = 0.5 + 0.5 * np.sin(2 * np.pi * (v * 40 + 1.5 * noise(21, 40, 40)))
    floor = mix("a98d5e", "e3cf9c", 0.5 * ripple + 0.5 * noise(22, 2, 2))
    edge = np.min([abs(noise(seed, 18, 26) - 0.5) for seed in (23, 24, 25)], axis=0)
    return over(floor, "fff6cf", 0.6 * np.exp(-((edge / 0.02) ** 2)))


def water() -> np.ndarray:
    """Draw open water, brighter towards the surface, with faint slanted rays."""
    u, v = grid()
    rays = np.interp((u + 0.3 * v) % 1, np.linspace(0, 1, TEXTURE_SIDE), noise(31, 12, 12)[0])
    return mix("0c4a6e", "62c6d6", np.clip(1 - v + 0.45 * (rays - 0.5) * (1 - v), 0, 1))


def capped(skin: np.ndarray, color: str) -> np.ndarray:
    """Cover both poles of a ball, where every pattern is squeezed together."""
    _, v = grid()
    return over(skin, color, (abs(v - 0.5) > 0.4).astype(float))


def red_dots() -> np.ndarray:
    return capped(over(plain("c3202a", "d8333a"), "fff3e6", dots(12, 8, 0.3)), "fff3e6")


def beach_ball() -> np.ndarray:
    u, _ = grid()
    return capped(over(mix("f7f3e8", "f7f3e8", u), "1f5fd0", stripes(u, 3)), "f6c21c")


def patchwork() -> np.ndarray:
    """Draw a chequered face with a frame, for wooden toy blocks."""
    u, v = grid()
    cloth = mix("2f9c5a", "eadf9a", np.abs(stripes(u, 2) - stripes(v, 2)))
    return over(cloth, "17633a", (np.maximum(abs(u - 0.5), abs(v - 0.5)) > 0.42).astype(float))


def sprinkles() -> np.ndarray:
    """Draw icing with short strokes in three colours."""
    icing = mix("e8619a", "f590b8", noise(41, 30, 30))
    for seed, color in ((42, "fff4c4"), (43, "58d0d8"), (44, "ffffff")):
        icing = over(icing, color, (noise(seed, 16, 7) > 0.82).astype(float))
    return icing


def rug() -> np.ndarray:
    """Draw woven rings, pale so that the things on top stand out."""
    ring = stripes(grid()[1], 9)
    return over(mix("b9b39f", "cfc8b2", ring), "7f7866", 0.35 * noise(64, 3, 1))


def bands(base: str, band: str, edge: str, where: tuple[float, ...], half: float) -> np.ndarray:
    """Draw fish skin: scales of a base colour with outlined bands at v = `where`, +- `half`."""
    u, v = grid()
    distance = np.min([abs(v - center + 0.012 * np.sin(4 * np.pi * u)) for center in where], axis=0)
    skin = mix(base, "ffffff", 0.10 * dots(60, 60, 0.42) + 0.12 * noise(51, 20, 20))
    skin = over(skin, edge, (distance < half + 0.018).astype(float))
    return over(skin, band, (distance < half).astype(float))


TEXTURES: dict[str, Callable[[], np.ndarray]] = {
    "grass": grass,
    "fence": lambda: planks("a9784a", "dcb27c", 20, 5),
    "floor": lambda: planks("8a5a33", "c8935a", 14, 7),
    "wallpaper": lambda: over(plain("a9c7bd", "b9d4c8"), "dbe8d5", 0.7 * dots(32, 32, 0.16)),
    "bricks": lambda: bricks(4, 8),
    "sand": sand,
    "water": water,
    "rock": lambda: plain("3f4654", "8a8f98", 62, 20, 30),
    "weed": lambda: plain("1f6b45", "58b368", 63, 40, 4),
    "beach-ball": beach_ball,
    "red-dots": red_dots,
    "orange-rings": lambda: over(plain("ef8a17", "f7a02e"), "4c2a86", stripes(grid()[1], 5, 0.4)),
    "ladybird": lambda: over(plain("cf1f1f", "e23b2e"), "17120f", dots(8, 7, 0.30)),
    "black": lambda: plain("14120f", "2a2622"),
    "white": lambda: plain("f2efe6", "ffffff"),
    "top": lambda: over(plain("2456c4", "2f6be0"), "ffd23e", stripes(sum(grid()) % 1, 6)),
    "patchwork": patchwork,
    "sprinkles": sprinkles,
    "car": lambda: over(plain("1668c9", "2380e6"), "ffffff", stripes(grid()[1], 1, 0.22)),
    "glass": lambda: over(plain("86bfdc", "a4d6ea"), "1668c9", stripes(grid()[0] + 0.08, 2, 0.16)),
    "tyre": lambda: over(plain("1b1b1e", "2c2c30"), "d9d9d9", stripes(grid()[0], 6, 0.3)),
    "rug": rug,
    "clownfish": lambda: bands("f0701a", "fffaf0", "1c1410", (0.20, 0.45, 0.70), 0.05),
    "orange-fin": lambda: plain("d9560f", "ff9a3c", 65, 40, 3),
    "bluefish": lambda: bands("5b2fb0", "ffd426", "35156f", (0.32, 0.55), 0.06),
    "yellow-fin": lambda: plain("e0a80f", "ffe25a", 66, 40, 3),
}
MATT = {"grass", "fence", "floor", "wallpaper", "bricks", "sand", "water", "rock", "weed", "rug"}


@cache
def material(name: str) -> mi.BSDF:
    """Scenery is matt; objects get a smooth plastic coat whose highlights show their shape."""
    pixels = np.clip(TEXTURES[name](), 0, 255).astype(np.uint8)
    texture = {"type": "bitmap", "bitmap": mi.Bitmap(pixels), "raw": False}
    if name in MATT:
        bsdf = {"type": "diffuse", "reflectance": texture}
    else:
        bsdf = {"type": "roughplastic", "alpha": 0.2, "diffuse_reflectance": texture}
    return mi.load_dict({"type": "twosided", "bsdf": bsdf})


# --------------------------------------------------------------------------------------- meshes

Surface = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (u, v) [...] -> points [..., 3]


def revolve(radius: Callable, height: Callable) -> Surface:
    """Turn a profile, both functions of v in [0, 1], around the z axis."""
    return lambda u, v: np.stack([radius(v) * np.cos(u), radius(v) * np.sin(u), height(v)], -1)


def lathe(radii: tuple[float, ...], heights: tuple[float, ...]) -> Surface:
    """Turn a smooth curve through a few points, as on a potter's wheel."""
    steps = np.linspace(0, 1, len(radii))
    return revolve(PchipInterpolator(steps, radii), PchipInterpolator(steps, heights))


SURFACES: dict[str, Surface] = {
    "ball": revolve(lambda v: np.sin(np.pi * v), lambda v: -np.cos(np.pi * v)),
    "torus": revolve(
        lambda v: 1 - 0.42 * np.cos(2 * np.pi * v), lambda v: -0.42 * np.sin(2 * np.pi * v)
    ),
    "disc": lathe((0, 0.25, 0.5, 0.75, 1, 1), (1, 1, 1, 1, 1, 0)),
    "wheel": lathe((0, 0.85, 1, 1, 0.85, 0), (-0.4, -0.4, -0.3, 0.3, 0.4, 0.4)),
    "top": lathe(
        (0, 0.1, 0.55, 1, 0.8, 0.2, 0.1, 0.13, 0), (0, 0.1, 0.45, 0.8, 1, 1.1, 1.4, 1.5, 1.55)
    ),
    "fish": lathe(
        (0, 0.1, 0.12, 0.26, 0.42, 0.5, 0.47, 0.3, 0),
        (-1.02, -1, -0.9, -0.65, -0.3, 0.1, 0.5, 0.85, 1),
    ),
    "weed": lathe((0.16, 0.2, 0.1, 0.15, 0.07, 0.1, 0), (0, 0.4, 0.8, 1.2, 1.6, 2, 2.5)),
}


def sweep(surface: Surface, nu: int = 48, nv: int = 32) -> tuple[np.ndarray, ...]:
    """Sample a surface: points, unit normals [nu, nv, 3] and texture coordinates [nu, nv, 2]."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, nu), np.linspace(0, 1, nv), indexing="ij")
    inner = np.clip(v, 1e-3, 1 - 1e-3)  # off the poles, where the normal is undefined
    along_u = surface(u + 1e-4, inner) - surface(u - 1e-4, inner)
    along_v = surface(u, inner + 1e-4) - surface(u, inner - 1e-4)
    normals = np.cross(along_u, along_v)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return surface(u, v), normals, np.stack([u / (2 * np.pi), v], -1)


def box_side(axis: int, sign: int, bevel: float = 0.14) -> tuple[np.ndarray, ...]:
    """Return one side of the cube [-1, 1]^3 with round edges, in the layout of `sweep`."""
    line = np.concatenate([np.linspace(-1, bevel - 1, 7), np.linspace(1 - bevel, 1, 7)])
    a, b = np.meshgrid(line, sign * line, indexing="ij")
    cube = np.roll(np.stack([np.full_like(a, sign), a, b], -1), axis, axis=-1)
    core = np.clip(cube, bevel - 1, 1 - bevel)
    normals = (cube - core) / np.linalg.norm(cube - core, axis=-1, keepdims=True)
    right, up = cube[..., (1, 0, 0)[axis]], cube[..., (2, 2, 1)[axis]]
    return core + bevel * normals, normals, np.stack([right, up], -1) / 2 + 0.5


@cache
def geometry(mesh: str) -> tuple[np.ndarray, ...]:
    """Return points [V, 3], normals [V, 3], texture (u, v) [V, 2] and triangles [F, 3]."""
    if mesh == "box":
        sheets = [box_side(axis, sign) for axis in range(3) for sign in (-1, 1)]
    else:
        sheets = [sweep(SURFACES[mesh])]
    points, normals, uv = (np.stack(parts) for parts in zip(*sheets, strict=True))
    index = np.arange(points[..., 0].size).reshape(points.shape[:3])
    a, b, c, d = index[:, :-1, :-1], index[:, 1:, :-1], index[:, 1:, 1:], index[:, :-1, 1:]
    faces = np.stack([a, b, c, a, c, d], -1).reshape(-1, 3)
    return points.reshape(-1, 3), normals.reshape(-1, 3), uv.reshape(-1, 2), faces


def build(part: Part, glow: bool) -> mi.Shape:
    """Put a part into the world: painted, or glowing with exactly its object id as radiance."""
    props = mi.Properties()
    props["bsdf"] = material(part.material)
    if glow:
        radiance = {"type": "rgb", "value": [float(part.object_id)] * 3}
        props["emitter"] = mi.load_dict({"type": "area", "radiance": radiance})
    points, normals, uv, faces = geometry(part.mesh)
    matrix = np.array(part.pose.matrix)[:3]
    normals = normals @ np.linalg.inv(matrix[:, :3])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    # No smooth normals for the glow: near a silhouette they may face away, and that side is dark.
    shape = mi.Mesh(part.mesh, len(points), len(faces), props, not glow, True)
    buffers = mi.traverse(shape)
    buffers["vertex_positions"] = np.float32(points @ matrix[:, :3].T + matrix[:, 3]).ravel()
    if not glow:
        buffers["vertex_normals"] = np.float32(normals).ravel()
    buffers["vertex_texcoords"] = np.float32(uv).ravel()
    buffers["faces"] = np.uint32(faces).ravel()
    buffers.update()
    return shape


# --------------------------------------------------------------------------------------- scenes


def at(x: float, y: float, z: float) -> Pose:
    return Pose().translate([x, y, z])


def size(x: float, y: float, z: float) -> Pose:
    return Pose().scale([x, y, z])


def turn(axis: str, degrees: float) -> Pose:
    return Pose().rotate([axis == "x", axis == "y", axis == "z"], degrees)


def ground(skin: str, half: float = 7) -> Part:
    return Part("box", skin, at(0, 0, -1) @ size(half, half, 1))


def backdrop(skin: str, y: float) -> Part:
    return Part("box", skin, at(0, y + 1, 6) @ size(7, 1, 7))


def lingering(t: float, slowing: float) -> float:
    """Return time from 0 to 1 that slows down around the middle, or hurries where `slowing` < 0."""
    return t + slowing * np.sin(2 * np.pi * t) / (2 * np.pi)


def room(depth: float) -> list[Part]:
    """Return a wooden floor, and `depth` behind the middle a papered wall with a skirting board."""
    skirting = Part("box", "white", at(0, depth - 0.1, 0.15) @ size(7, 0.1, 0.16))
    return [ground("floor"), backdrop("wallpaper", depth), skirting]


def sea(rocks: list[Vec], plants: list[tuple[float, float]], t: float) -> list[Part]:
    """Return sand with rocks (x, y, radius) and swaying plants (x, y) in front of open water."""
    parts = [ground("sand"), backdrop("water", 6)]
    parts += [Part("ball", "rock", at(x, y, 0) @ size(1.3 * r, r, r)) for x, y, r in rocks]
    for i, (x, y) in enumerate(plants):
        sway = turn("y", 7 * np.sin(2 * np.pi * t + i))
        parts += [Part("weed", "weed", at(x, y, 0) @ sway @ size(0.9, 0.9, 0.7 + 0.1 * (i % 3)))]
    return parts


def rolling(start: Vec, end: Vec, t: float, skin: str, object_id: int) -> Part:
    """Return a ball on its way between two (x, y, radius), rolling without slipping."""
    (x0, y0, radius), (x1, y1, _) = start, end
    dx, dy = x1 - x0, y1 - y0
    heading, rolled = np.degrees([np.arctan2(dy, dx), t * np.hypot(dx, dy) / radius])
    spin = turn("z", heading) @ turn("y", rolled) @ turn("z", -heading) @ turn("x", 65)
    pose = at(x0 + t * dx, y0 + t * dy, radius) @ spin @ size(radius, radius, radius)
    return Part("ball", skin, pose, object_id)


def rolling_balls(t: float) -> Shot:
    balls = [
        rolling((-2.3, 0.2, 0.8), (2.1, 0.0, 0.8), t, "red-dots", 1),
        rolling((2.4, 2.3, 0.95), (-2.1, 2.1, 0.95), t, "beach-ball", 2),
        rolling((0.7, -1.7, 0.6), (-1.8, -1.6, 0.6), t, "orange-rings", 3),
    ]
    return Shot((0, -8.2, 3.4), (0, 0.3, 0.75), [ground("grass"), backdrop("fence", 5), *balls])


def spinning_top(x: float, y: float, t: float, object_id: int) -> Part:
    """Return a top that leans, and whose lean goes round while it spins."""
    pose = at(x, y, 0) @ turn("z", 300 * t) @ turn("x", 8) @ turn("z", 900 * t)
    return Part("top", "top", pose @ size(0.72, 0.72, 0.8), object_id)


def ladybird(x: float, y: float, swing: float) -> list[Part]:
    """Return shell head, eyes and six legs that step in turn; walks to the right."""
    body = at(x, y, 0) @ size(0.9, 0.9, 0.9)
    parts = [("ball", "ladybird", at(0, 0, 0.3) @ size(0.85, 0.7, 0.75) @ turn("y", 90))]
    parts += [("ball", "black", at(0.8, 0, 0.42) @ size(0.34, 0.36, 0.34))]
    for side in (-1, 1):
        parts += [("ball", "white", at(0.98, side * 0.2, 0.58) @ size(0.12, 0.12, 0.12))]
        for leg in (-1, 0, 1):
            step = 0.12 * np.sin(swing + np.pi * (leg + side / 2))
            foot = at(0.45 * leg + step, 0.66 * side, 0.12) @ size(0.09, 0.2, 0.14)
            parts += [("ball", "black", foot)]
    return [Part(mesh, skin, body @ pose, 1) for mesh, skin, pose in parts]


def hide_and_seek(t: float) -> Shot:
    pillar = Part("box", "bricks", at(-0.1, -0.7, 1.0) @ size(1.1, 0.25, 1.0))
    way = lingering(t, -0.3)  # hurries while it is out of sight
    walker = ladybird(-2.6 + 5.0 * way, 0.9, 50 * way)
    toy = spinning_top(0.2, -1.9, t, 2)
    return Shot((0, -8.2, 3.0), (0, 0, 0.9), [*room(2.7), pillar, toy, *walker])


def car(pose: Pose, travelled: float, object_id: int) -> list[Part]:
    """Return body cabin, lamps and four rolling wheels; drives along its own +x axis."""
    parts = [("box", "car", at(0, 0, 0.45) @ size(1, 0.5, 0.27))]
    parts += [("box", "glass", at(-0.15, 0, 0.85) @ size(0.55, 0.42, 0.28))]
    for side in (-1, 1):
        parts += [("ball", "white", at(0.97, 0.28 * side, 0.5) @ size(0.09, 0.11, 0.11))]
        for x in (-0.55, 0.55):
            axle = at(x, 0.5 * side, 0.28) @ turn("y", np.degrees(travelled / 0.28))
            wheel = axle @ turn("x", 90) @ size(0.28, 0.28, 0.3)
            parts += [("wheel", "tyre", wheel)]
    return [Part(mesh, skin, pose @ local, object_id) for mesh, skin, local in parts]


def orbit(t: float) -> Shot:
    angle, heading = np.radians(-125 + 65 * t), 165 * t - 145
    eye = (7.9 * np.cos(angle), 7.9 * np.sin(angle), 4.4)
    drive = turn("z", heading) @ at(0, -2.0, 0.05)
    parts = [
        ground("floor", half=13),
        Part("disc", "rug", size(3.3, 3.3, 0.05)),
        Part("torus", "sprinkles", at(1.05, 0.45, 0.4) @ size(0.85, 0.85, 0.85), 1),
        Part("box", "patchwork", at(-0.95, 0.1, 0.66) @ turn("z", 25) @ size(0.62, 0.62, 0.62), 2),
    ]
    return Shot(eye, (0, 0, 0.2), parts + car(drive, 2.0 * np.radians(heading), 3))


def fish(pose: Pose, skin: str, fin: str, beat: float, object_id: int) -> list[Part]:
    """Return a body with a beating tail, fins and eyes; swims along its own +x axis."""
    swing = 22 * np.sin(beat)
    pose = pose @ turn("z", -0.2 * swing)  # the body turns against the tail
    tail = at(-0.92, 0, 0) @ turn("z", swing)
    parts = [("fish", skin, size(1, 0.65, 1) @ turn("y", 90))]
    for side in (-1, 1):
        lobe = tail @ turn("y", 35 * side) @ at(-0.35, 0, 0) @ size(0.45, 0.05, 0.2)
        flap = at(0.15, 0.3 * side, -0.12) @ turn("z", side * (30 + swing)) @ turn("y", -30)
        parts += [
            ("ball", fin, lobe),
            ("ball", fin, flap @ at(-0.25, 0, 0) @ size(0.28, 0.04, 0.15)),
            ("ball", fin, at(-0.05, 0, 0.5 * side) @ turn("y", 15 * side) @ size(0.45, 0.04, 0.2)),
            ("ball", "white", at(0.62, 0.2 * side, 0.13) @ size(0.13, 0.1, 0.13)),
            ("ball", "black", at(0.65, 0.26 * side, 0.13) @ size(0.075, 0.06, 0.075)),
        ]
    return [Part(mesh, paint, pose @ local, object_id) for mesh, paint, local in parts]


def reef(t: float) -> Shot:
    bob = 0.12 * np.sin(2 * np.pi * t)
    first = at(-1.6 + 3.2 * t, -0.4, 1.15 + bob)
    second = at(2.1 - 4.1 * t, 1.6, 2.2 - bob) @ turn("z", 180) @ size(0.9, 0.9, 0.9)
    rocks = [(-2.9, 2.2, 0.9), (-1.9, 2.9, 0.6), (3.0, 2.4, 0.8), (2.0, 3.1, 1.1)]
    plants = [(-3.3, 1.2), (-2.4, 1.6), (2.5, 2.6), (3.2, 1.0), (0.3, 3.2)]
    swimmers = fish(first, "clownfish", "orange-fin", 8 * np.pi * t, 1)
    swimmers += fish(second, "bluefish", "yellow-fin", 10 * np.pi * t + 1, 2)
    return Shot((0, -8.0, 2.3), (0, 0, 1.35), sea(rocks, plants, t) + swimmers)


DAYLIGHT = Light(sky=(0.55, 0.65, 0.8), sun=(30, 27, 22), sun_at=(-6, -7, 9))
INDOORS = Light(sky=(0.6, 0.6, 0.62), sun=(26, 23, 19), sun_at=(-5, -6, 9))
UNDER_WATER = Light(sky=(0.45, 0.7, 0.8), sun=(20, 24, 24), sun_at=(-3, -4, 11))

EXAMPLES = (
    Example(
        "rolling-balls",
        "Rolling balls",
        "Three balls roll across a lawn and pass in front of one another.",
        ("red ball", "beach ball", "orange ball"),
        rolling_balls,
        DAYLIGHT,
    ),
    Example(
        "hide-and-seek",
        "Hide and seek",
        "A ladybird walks behind a brick wall and comes out again, while a toy spins in front.",
        ("ladybird", "spinning top"),
        hide_and_seek,
        INDOORS,
    ),
    Example(
        "orbit",
        "Toys on a rug",
        "The camera walks around a doughnut and a block while a toy car drives by.",
        ("doughnut", "block", "toy car"),
        orbit,
        Light(sky=(0.6, 0.62, 0.66), sun=(26, 23.5, 19), sun_at=(4, -6, 10)),
    ),
    Example(
        "reef",
        "Two fish",
        "Two fish with beating tails and fins pass each other above the sea floor.",
        ("clownfish", "violet fish"),
        reef,
        UNDER_WATER,
    ),
)


# ------------------------------------------------------------------------------------ rendering


def render(example: Example, t: float, spp: int = SPP) -> tuple[np.ndarray, np.ndarray]:
    """Return the image [H, W, 3] and object ids [H, W] at time t, both uint8.

    Ids are seen, not computed: in a second scene without lamps every object glows with its id as
    radiance, and rays that stop at the first hit read it back exactly. (Mitsuba's shape-index
    AOV gives the same masks thirty times slower.)
    """
    shot = example.shot(t)
    light = trace(shot, example.light.emitters(), max_depth=3, spp=max(1, spp // GRID**2))
    ids = trace(shot, {}, max_depth=1, spp=1)[..., 0]
    return develop(light), majority(ids, len(example.objects))


def trace(shot: Shot, lights: dict, max_depth: int, spp: int) -> np.ndarray:
    """Path-trace a shot into radiance [k H, k W, 3]; without lights, the objects glow."""
    film = {"type": "hdrfilm", "width": WIDTH * GRID, "height": HEIGHT * GRID}
    camera = {
        "type": "perspective",
        "fov": 40,
        "to_world": Pose().look_at(shot.eye, shot.target, [0, 0, 1]),
        # A box filter: no sum crosses render blocks, so the order of threads cannot matter.
        "film": film | {"rfilter": {"type": "box"}},
        "sampler": {"type": "multijitter", "sample_count": spp},
    }
    parts = {f"part-{i}": build(part, glow=not lights) for i, part in enumerate(shot.parts)}
    path = {"type": "path", "max_depth": max_depth}
    scene = {"type": "scene", "camera": camera, "integrator": path, **lights, **parts}
    return np.array(mi.render(mi.load_dict(scene)))


def blocks(image: np.ndarray) -> np.ndarray:
    """Return the sub-pixels of every pixel, [k H, k W, ...] -> [H, W, k k, ...]."""
    split = image.reshape(HEIGHT, GRID, WIDTH, GRID, *image.shape[2:]).swapaxes(1, 2)
    return split.reshape(HEIGHT, WIDTH, GRID**2, *image.shape[2:])


def develop(light: np.ndarray) -> np.ndarray:
    """Convert radiance [k H, k W, 3] to sRGB bytes [H, W, 3].

    Highlights roll off above a knee instead of clipping. Doing so before sub-pixels are averaged
    also tames fireflies: a single stray path cannot outshine its neighbours.
    """
    knee = 0.7
    rolled = knee + (1 - knee) * (1 - np.exp(-np.maximum(light - knee, 0) / (1 - knee)))
    light = blocks(np.where(light < knee, light, rolled)).mean(axis=2)
    srgb = np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (255 * srgb + 0.5).astype(np.uint8)


def majority(ids: np.ndarray, objects: int) -> np.ndarray:
    """Return the most frequent id among the sub-pixels of every pixel, [k H, k W] -> [H, W]."""
    votes = [(blocks(ids) == i).sum(axis=2) for i in range(objects + 1)]
    return np.argmax(votes, axis=0).astype(np.uint8)


# -------------------------------------------------------------------------------------- writing


def palette() -> list[int]:
    """Return the colours of PASCAL VOC and DAVIS: the bits of an id, spread over r, g and b."""
    channels = [(value, c) for value in range(256) for c in range(3)]
    return [sum((v >> (3 * j + c) & 1) << (7 - j) for j in range(8)) for v, c in channels]


def write_example(example: Example, out: Path, frames: int, spp: int) -> None:
    """Render one clip into NAME.mp4 and masks/NAME/00000.png ..."""
    folder = out / "masks" / example.name
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.png"):
        stale.unlink()
    options = {"codec": "libx264", "pixelformat": "yuv420p", "output_params": ENCODER.split()}
    with imageio.get_writer(out / f"{example.name}.mp4", fps=FPS, quality=None, **options) as video:
        for i in range(frames):
            picture, ids = render(example, i / frames, spp)
            video.append_data(picture)
            mask = Image.fromarray(ids)
            mask.putpalette(palette())
            mask.save(folder / f"{i:05d}.png", optimize=True)
            print(f"{example.name}: frame {i + 1}/{frames}", end="\r", flush=True)
    print()


def describe(example: Example, out: Path) -> dict:
    """Return what the gallery shows of a clip that was written to `out`."""
    return {
        "name": example.name,
        "title": example.title,
        "caption": example.caption,
        "fps": FPS,
        "frames": len(list((out / "masks" / example.name).glob("*.png"))),
        "size": [WIDTH, HEIGHT],
        "objects": {str(i + 1): name for i, name in enumerate(example.objects)},
    }


def command(
    examples: tuple[Example, ...], kind: str, purpose: str, frames: int = FRAMES, spp: int = SPP
) -> None:
    """Render clips as the command line asks: into the folder `kind`, listed in `kind`.json."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / kind)
    parser.add_argument("--only", choices=[example.name for example in examples])
    parser.add_argument("--spp", type=int, default=spp, help="samples per pixel")
    parser.add_argument("--frames", type=int, default=frames)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for example in examples:
        if args.only in (None, example.name):
            write_example(example, args.out, args.frames, args.spp)
    index = [describe(e, args.out) for e in examples if (args.out / f"{e.name}.mp4").exists()]
    (args.out / f"{kind}.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    command(EXAMPLES, "examples", __doc__.splitlines()[0])
