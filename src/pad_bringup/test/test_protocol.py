"""The paper's protocol: what a split changes, that it follows from the seed, and how results are counted."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_bringup.cell import Cell, scene
from pad_bringup.cell.objects import load_objects
from pad_bringup.cell.variation import draw_variation, place_distractors
from pad_bringup.errors import CellError
from pad_bringup.evaluation import paper
from pad_bringup.evaluation.protocol import ProtocolResult, tracks_lost
from pad_bringup.evaluation.result import EpisodeRecord, Evaluation, Totals
from pad_bringup.losses import Losses
from pad_bringup.splits import SPLITS
from pad_parse.demonstration import KeypointState

OPENING = 0.11
TASKS = ("pour", "trash_in_bin", "paper_in_case")


@settings(max_examples=12)
@given(st.sampled_from(TASKS), st.integers(0, 2**31))
def test_other_instances_can_still_be_handled(task: str, seed: int) -> None:
    own = load_objects(task)
    other = draw_variation("object", own, OPENING, seed).objects
    assert other is not None
    assert other.keypoint_groups == own.keypoint_groups
    for name, model in own.models.items():
        changed = other.models[name]
        assert changed.outer != model.outer and changed.texture != model.texture
        for (_, before), (_, now) in zip(model.outer, changed.outer, strict=True):
            assert now * 2 < OPENING or before * 2 > OPENING - 0.012
    if own.drink is not None:
        scene.drink_positions(other.models[own.drink.container], own.drink)


@settings(max_examples=15)
@given(st.integers(0, 2**31))
def test_distractors_leave_room_for_the_hands(seed: int) -> None:
    objects = load_objects("pour")
    things = draw_variation("background", objects, OPENING, seed).distractors
    places = {"bottle": (0.02, -0.2, 0.0), "cup": (-0.03, 0.2, 0.0)}
    found = place_distractors(things, objects, places, np.random.default_rng(seed))
    assert len(found) == len(things) == 3
    for thing, (x, y, _) in zip(things, found, strict=True):
        for name, (ox, oy, _) in places.items():
            radius = max(radius for _, radius in objects.models[name].outer)
            assert np.hypot(x - ox, y - oy) > thing.radius + radius + 0.06


def test_no_room_for_distractors_is_said() -> None:
    objects = load_objects("pour")
    thing = draw_variation("background", objects, OPENING, 0).distractors[0]
    giant = replace(thing, radius=0.5)
    with pytest.raises(CellError, match="no room"):
        place_distractors((giant,), objects, {n: m.home for n, m in objects.models.items()}, np.random.default_rng(0))


def test_background_stands_in_physics_and_follows_from_the_seed() -> None:
    cells = [Cell("pour", variation=("background", seed)) for seed in (4, 4, 5)]
    for cell in cells:
        cell.reset()
    places = [
        [tuple(cell.data.mocap_pos[cell.model.body(scene.distractor_name(k)).mocapid[0]]) for k in range(3)]
        for cell in cells
    ]
    assert places[0] == places[1] != places[2]
    one, _, other = (cell.model for cell in cells)
    assert not np.array_equal(one.light_diffuse, other.light_diffuse)
    first = one.tex_adr[mujoco.mj_name2id(one, mujoco.mjtObj.mjOBJ_TEXTURE, "wood")]
    assert not np.array_equal(one.tex_data[first : first + 3000], other.tex_data[first : first + 3000])


def test_swapped_placements_are_the_mirror_image() -> None:
    cell = Cell("pour")
    plain = cell.sample_placements(np.random.default_rng(3), swapped=False)
    swapped = cell.sample_placements(np.random.default_rng(3), swapped=True)
    assert swapped == {name: (x, -y, -yaw) for name, (x, y, yaw) in plain.items()}


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(CellError, match="spatial, object, background"):
        Cell("pour", variation=("weather", 0))  # type: ignore[arg-type]


def test_losses_count_the_longest_break() -> None:
    losses = Losses()
    lost, seen = KeypointState.LOST, KeypointState.VISIBLE
    for stamp, states in ((0.0, [seen, seen]), (0.5, [lost, seen]), (1.2, [lost, seen]), (1.3, [seen, lost])):
        losses.see(stamp, np.array(states, np.uint8))
    assert losses.longest == pytest.approx(1.2)


def _record(seed: int, success: bool, loss: float | None) -> EpisodeRecord:
    return EpisodeRecord(
        seed=seed,
        success=success,
        cause="" if success else "spilled",
        detail="",
        stage="",
        duration=9.0,
        longest_loss=loss,
    )


def test_table_shows_both_and_says_that_physics_is_no_robot() -> None:
    records = [_record(0, True, 0.2), _record(1, False, 1.4), _record(2, True, None)]
    evaluation = Evaluation(
        **Totals.of(records).model_dump(),
        mode="vision",
        method="policy",
        task="pour",
        robot="ur5e_pair",
        policy="/p",
        disturbed=False,
        time_limit=30.0,
        results=records,
    )
    result = ProtocolResult(
        task="pour",
        mode="vision",
        trials=3,
        both_sides=False,
        tracks_lost=tracks_lost(records),
        splits=dict.fromkeys(SPLITS, evaluation),
        paper=paper.SUCCESSES["pour"]._asdict(),
    )
    assert result.tracks_lost == 0.5
    text = "\n".join(result.table())
    assert "2/3" in text and "11/12" in text and "1 x spilled" in text
    assert "not a robot" in text and "swap_sides" in text
    assert ProtocolResult.model_validate_json(result.model_dump_json()) == result


def test_the_papers_counts_are_its_means() -> None:
    means = [sum(split) / (12 * len(paper.SUCCESSES)) for split in zip(*paper.SUCCESSES.values(), strict=True)]
    assert [round(100 * mean) for mean in means] == [92, 72, 60]
