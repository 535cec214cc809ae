"""Label maps as a COCO document, which pycocotools opens."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco  # type: ignore[import-untyped]


class CocoMasks:
    """Collects one image after the other. Label 0 is category 1, label 1 is category 2, …"""

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, labels: np.ndarray, file_name: str, **about: Any) -> None:
        """Append an image (H, W) int and one mask per label in it; about: more on the image."""
        height, width = labels.shape
        image_id = len(self._images) + 1
        self._images.append(
            {"id": image_id, "file_name": file_name, "height": height, "width": width, **about}
        )
        columns = np.ascontiguousarray(labels.T)  # COCO's runs go down the columns
        for label in np.unique(columns).tolist():
            code = coco.encode((columns == label).view(np.uint8).T)
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "track_id": label + 1,
                    "iscrowd": 0,
                    "area": int(coco.area(code)),
                    "bbox": [int(side) for side in coco.toBbox(code)],
                    "segmentation": {"size": code["size"], "counts": code["counts"].decode()},
                }
            )

    def document(self, categories: list[dict[str, Any]], info: dict[str, Any]) -> dict[str, Any]:
        """Return the document. categories: one for every label, in their order, without ids."""
        return {
            "info": info,
            "licenses": [],
            "images": self._images,
            "annotations": self._annotations,
            "categories": [
                {"id": number, **category} for number, category in enumerate(categories, 1)
            ],
        }
