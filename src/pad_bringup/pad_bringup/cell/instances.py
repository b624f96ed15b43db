"""Other instances of a task's objects: the same kind of thing with other sizes, proportions, colours and label."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from itertools import pairwise

import numpy as np

from pad_bringup.cell.objects import ObjectModel, TaskObjects, TextureModel

_WIDER = (0.85, 1.2)
"""Factor of all radii."""
_TALLER = (0.8, 1.25)
"""Factor of the height of every part, drawn for each."""
_NARROWER = (0.9, 1.1)
"""Factor of the radius at each height, drawn for each and 1 where the object stands."""


def another_instance(objects: TaskObjects, rng: np.random.Generator) -> TaskObjects:
    """The task's objects, each as another instance; names, groups and homes stay.

    A keypoint stays at its azimuth and at the same share of its part's height, a part being the wall between two
    heights of `outer`: a point just below the rim of one bottle is just below the rim of every bottle. What stands on,
    or in, another object is as wide as that one's new opening asks for.
    """
    models: dict[str, ObjectModel] = {}
    for name, model in sorted(objects.models.items(), key=lambda item: item[0] in objects.stack()):
        fit = None
        if model.stands_on is not None:
            below = model.stands_on.object
            fit = _opening(models[below], model) / _opening(objects.models[below], model)
        models[name] = _vary(model, rng, fit)
    return replace(objects, models={name: models[name] for name in objects.models})


def random_texture(rng: np.random.Generator, inks: int = 5) -> TextureModel:
    """A label of random colours that differ from its ground."""
    hue = rng.uniform()
    base = _colour(hue, rng.uniform(0.3, 0.9), rng.uniform(0.4, 0.9))
    others = [
        _colour(hue + rng.uniform(0.15, 0.85), rng.uniform(0.1, 0.9), rng.uniform(0.25, 1.0)) for _ in range(inks)
    ]
    return TextureModel(seed=int(rng.integers(2**31)), base=base, inks=others)


def _opening(below: ObjectModel, thing: ObjectModel) -> float:
    """m; radius that decides what fits: at the top for what lies there, else the narrowest."""
    on_top = thing.stands_on is not None and thing.stands_on.sinks is not None
    return (below.outer[-1][1] if on_top else min(radius for _, radius in below.outer)) - below.wall


def _vary(model: ObjectModel, rng: np.random.Generator, fit: float | None) -> ObjectModel:
    """fit: factor of all radii; None: drawn, and for each height a little different."""
    heights = [height for height, _ in model.outer]
    rises = [(high - low) * rng.uniform(*_TALLER) for low, high in pairwise(heights)]
    new_heights = np.concatenate([[0.0], np.cumsum(rises)])
    wide = rng.uniform(*_WIDER)
    # A straight part stays straight: heights with one radius share their factor.
    factors: dict[float, float] = {model.outer[0][1]: 1.0}
    tapered = len({radius for _, radius in model.outer}) == 1
    radii = []
    for k, (_, radius) in enumerate(model.outer):
        if fit is not None:
            radii.append(radius * fit)
        elif tapered and k:
            radii.append(radius * wide * rng.uniform(*_NARROWER))
        else:
            radii.append(radius * wide * factors.setdefault(radius, rng.uniform(*_NARROWER)))
    on = model.stands_on
    if on is not None and on.sinks is not None:
        on = on.model_copy(update={"sinks": float(np.interp(on.sinks, heights, new_heights))})
    keypoints = {
        group: [(azimuth, float(np.interp(height, heights, new_heights))) for azimuth, height in places]
        for group, places in model.keypoints.items()
    }
    return model.model_copy(
        update={
            "outer": [(float(z), float(r)) for z, r in zip(new_heights, radii, strict=True)],
            "texture": random_texture(rng),
            "keypoints": keypoints,
            "stands_on": on,
        }
    )


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1.0, saturation, value))
    return red, green, blue
