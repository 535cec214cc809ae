"""Render clips that measure how well objects are separated, with exact masks.

    python assets/make_scenes.py [--out DIR] [--only NAME] [--spp N] [--frames N]

They are no examples: each is one difficulty. Things that look alike cross, touch, hide or leave
the picture, and one thing is very large, cut off by the border, or cut in two by a pole. All is
made as in make_examples.py, whose conventions hold here too.
"""

import numpy as np
from make_examples import (
    DAYLIGHT,
    INDOORS,
    UNDER_WATER,
    Example,
    Part,
    Shot,
    Vec,
    at,
    backdrop,
    car,
    command,
    fish,
    ground,
    ladybird,
    lingering,
    rolling,
    room,
    sea,
    size,
    spinning_top,
    turn,
)

FRAMES, SPP = 32, 18
FINS = {"clownfish": "orange-fin", "bluefish": "yellow-fin"}


def there_and_back(t: float) -> float:
    """Rise smoothly from 0 to 1 at half time, and fall to 0 again."""
    return np.sin(np.pi * t) ** 2


def small_fish(skin: str, place: Vec, beat: float, object_id: int) -> list[Part]:
    pose = at(*place) @ size(0.58, 0.58, 0.58)
    return fish(pose, skin, FINS[skin], beat, object_id)


def crossing(t: float) -> Shot:
    way = lingering(t, 0.65)
    balls = [
        rolling((-2.1, -0.9, 0.72), (2.1, -0.9, 0.72), way, "beach-ball", 1),
        rolling((2.65, 1.0, 0.72), (-2.65, 1.0, 0.72), way, "beach-ball", 2),
    ]
    return Shot((0, -8.2, 1.5), (0, 0.3, 0.85), [ground("grass"), backdrop("fence", 5), *balls])


def touching(t: float) -> Shot:
    drift, apart = 0.9 * t - 0.45, 1.05 * (1 - there_and_back(t)) ** 2
    swimmers = small_fish("bluefish", (drift - 0.9, 0, 0.75), 8 * np.pi * t, 1)
    swimmers += small_fish("bluefish", (drift - 0.6, 0.1, 1.43 + apart), 8 * np.pi * t + 2, 2)
    bob = 0.2 * np.sin(5 * t)
    swimmers += small_fish("bluefish", (1.6 - drift, 0.4, 1.5 + bob), 10 * np.pi * t + 1, 3)
    rocks = [(-2.9, 2.6, 0.85), (2.4, 3.0, 0.8)]
    plants = [(-3.2, 1.4), (-1.9, 2.6), (3.0, 1.6), (0.5, 3.2)]
    return Shot((0, -8.0, 2.3), (0, 0, 1.35), sea(rocks, plants, t) + swimmers)


def leaving(t: float) -> Shot:
    away = there_and_back(t)
    tops = [
        spinning_top(-1.3 + 0.5 * np.sin(4 * t), 0.2 * np.cos(5 * t), t, 1),
        spinning_top(0.9 + 3.5 * away, -0.2 + 0.5 * away, t + 0.2, 2),
    ]
    return Shot((0, -8.2, 3.0), (0, 0, 0.7), room(2.7) + tops)


def behind_the_rock(t: float) -> Shot:
    way = lingering(t, 0.35)
    swimmers = small_fish("clownfish", (-2.2 + 4.6 * way, 1.2, 1.35), 10 * np.pi * t, 1)
    swimmers += small_fish("clownfish", (-1.6 + 0.7 * t, -1.2, 0.7), 8 * np.pi * t + 1, 2)
    rock = Part("ball", "rock", at(0.3, -0.3, 0) @ size(1.3, 0.95, 2.4))
    rocks = [(3.0, 2.8, 0.8), (-3.0, 3.0, 0.8)]
    plants = [(-3.0, 1.9), (1.5, 2.6), (2.7, 1.9), (-1.2, 3.2)]
    pan = 0.3 * t - 0.15
    scenery = [*sea(rocks, plants, t), rock]
    return Shot((pan, -8.0, 2.3), (pan, 0, 1.2), scenery + swimmers)


def filling(t: float) -> Shot:
    sway = np.sin(2 * np.pi * t)
    pose = at(0.2, 0, 1.6 + 0.08 * sway) @ turn("z", 6 * sway) @ size(2, 2, 2)
    swimmer = fish(pose, "bluefish", FINS["bluefish"], 6 * np.pi * t, 1)
    plants = [(-3.2, 3.4), (-1.5, 2.8), (1.0, 3.4), (2.8, 2.8)]
    pan = 0.5 * t - 0.25
    return Shot((pan, -6.6, 1.9), (pan, 0, 1.55), sea([], plants, t) + swimmer)


def half_outside(t: float) -> Shot:
    travelled = 1.7 * np.sin(2.4 * t)
    drive = turn("z", -8) @ at(-3.6 + travelled, -0.2, 0) @ size(1.3, 1.3, 1.3)
    return Shot((0, -6.5, 2.8), (0, 0.3, 0.7), room(3.4) + car(drive, travelled / 1.3, 1))


MARBLES = (
    ((-2.0, -1.25), (1.7, -1.3)),
    ((1.8, -0.28), (-0.9, -0.3)),
    ((-1.2, 0.65), (1.6, 0.75)),
    ((0.6, 1.85), (-2.1, 1.75)),
)


def marbles(t: float) -> Shot:
    """Four lanes, and along each a marble at its own pace."""
    balls = [
        rolling((*start, 0.34), (*end, 0.34), lingering(t, 0.5 - 0.3 * i), "orange-rings", i + 1)
        for i, (start, end) in enumerate(MARBLES)
    ]
    rug = Part("disc", "rug", size(3.6, 3.6, 0.01))
    pan = 0.4 * t - 0.2
    return Shot((pan, -4.7, 6.7), (pan, 0.3, 0), [ground("floor", half=13), rug, *balls])


def behind_a_pole(t: float) -> Shot:
    pole = Part("disc", "fence", at(0.1, -1.2, 0) @ size(0.09, 0.09, 4))
    walker = ladybird(-1.7 + 3.4 * t, 0.3, 40 * t)
    meadow = [ground("grass"), backdrop("fence", 5), pole]
    return Shot((0, -7.4, 2.6), (0, 0, 0.75), meadow + walker)


SCENES = (
    Example(
        "crossing",
        "Two balls cross",
        "One ball rolls in front of its double and hides it for a moment.",
        ("near ball", "far ball"),
        crossing,
        DAYLIGHT,
    ),
    Example(
        "touching",
        "Three fish, two touch",
        "One of three fish sinks onto the back of another and rises again.",
        ("lower fish", "sinking fish", "lone fish"),
        touching,
        UNDER_WATER,
    ),
    Example(
        "leaving",
        "Two tops, one leaves",
        "One of two tops leaves at the right side and comes back from there.",
        ("staying top", "leaving top"),
        leaving,
        INDOORS,
    ),
    Example(
        "behind-the-rock",
        "Two fish and a rock",
        "One of two fish swims behind a rock and comes out at the other side.",
        ("hiding fish", "near fish"),
        behind_the_rock,
        UNDER_WATER,
    ),
    Example(
        "filling",
        "A fish close by",
        "One fish fills most of the picture.",
        ("fish",),
        filling,
        UNDER_WATER,
    ),
    Example(
        "half-outside",
        "A car half outside",
        "A toy car drives in at the left side, stops while still cut off, and backs away.",
        ("toy car",),
        half_outside,
        INDOORS,
    ),
    Example(
        "marbles",
        "Four marbles",
        "Four marbles roll across a rug, each on its own way.",
        ("first marble", "second marble", "third marble", "fourth marble"),
        marbles,
        INDOORS,
    ),
    Example(
        "behind-a-pole",
        "A ladybird and a pole",
        "A ladybird walks behind a thin pole, which cuts it in two.",
        ("ladybird",),
        behind_a_pole,
        DAYLIGHT,
    ),
)


if __name__ == "__main__":
    command(SCENES, "scenes", __doc__.splitlines()[0], FRAMES, SPP)
