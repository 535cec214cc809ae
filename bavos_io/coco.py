"""Label maps as a COCO file, which pycocotools opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco  # type: ignore[import-untyped]

from .stopping import checkpoint


class CocoFile:
    """Writes one image after the other; a context manager. Label 0 is category 1, and so on.

    Annotations go to the file at once, so memory does not grow with them.
    """

    def __init__(self, path: Path, categories: list[dict[str, Any]], info: dict[str, Any]):
        """Describe the file. categories: one for every label, in their order, without ids."""
        self._path = path
        self._head = {
            "info": info,
            "licenses": [],
            "categories": [
                {"id": number, **category} for number, category in enumerate(categories, 1)
            ],
        }
        self._images: list[dict[str, Any]] = []
        self._annotations = 0

    def __enter__(self) -> CocoFile:
        self._file = self._path.open("w", encoding="utf-8")
        self._file.write(json.dumps(self._head)[:-1] + ', "annotations": [')
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._file.write(f'], "images": {json.dumps(self._images)}}}')

    def add(self, labels: np.ndarray, file_name: str, **about: Any) -> None:
        """Append an image (H, W) int and one mask per label in it; about: more on the image."""
        height, width = labels.shape
        image_id = len(self._images) + 1
        self._images.append(
            {"id": image_id, "file_name": file_name, "height": height, "width": width, **about}
        )
        columns = np.ascontiguousarray(labels.T)  # COCO's runs go down the columns
        for label in np.unique(columns).tolist():
            checkpoint()
            code = coco.encode((columns == label).view(np.uint8).T)
            annotation = {
                "id": self._annotations + 1,
                "image_id": image_id,
                "category_id": label + 1,
                "track_id": label + 1,
                "iscrowd": 0,
                "area": int(coco.area(code)),
                "bbox": [int(side) for side in coco.toBbox(code)],
                "segmentation": {"size": code["size"], "counts": code["counts"].decode()},
            }
            self._file.write((", " if self._annotations else "") + json.dumps(annotation))
            self._annotations += 1
