"""J and F against the official figures of published masks, where these are at hand.

The masks may not be shipped. Give BAVOS_DAVIS (a folder with JPEGImages/480p and Annotations/480p)
and BAVOS_MATNET (MATNet's masks for DAVIS-2016, a folder per sequence) to run this.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bavos_lab.evaluation import DATASETS, PROTOCOLS, Run, SavedMasks, Selection, evaluate

from .helpers import ROOT

GOLDEN = ROOT / "tests" / "golden" / "matnet_2016.json"
TOLERANCE = 0.0015  # the list has three digits


@pytest.mark.skipif(
    not {"BAVOS_DAVIS", "BAVOS_MATNET"} <= set(os.environ),
    reason="BAVOS_DAVIS and BAVOS_MATNET name no folders",
)
@pytest.mark.parametrize("name", ["camel", "car-shadow"])
def test_matnets_official_figures_of_every_frame(name: str, tmp_path: Path) -> None:
    official = json.loads(GOLDEN.read_text())[name]
    sequences = DATASETS["davis-2016"].sequences(
        Path(os.environ["BAVOS_DAVIS"]), Selection(sequences=(name,))
    )
    masks = SavedMasks(Path(os.environ["BAVOS_MATNET"]))
    (result,) = evaluate(Run(tmp_path, "DAVIS-2016", sequences, masks, PROTOCOLS))
    assert len(result["scored"]) == len(official["J"])
    for score in result["scores"]:
        assert np.abs(np.subtract(score["j_per_frame"][0], official["J"])).max() <= TOLERANCE
        assert np.abs(np.subtract(score["f_per_frame"][0], official["F"])).max() <= TOLERANCE
