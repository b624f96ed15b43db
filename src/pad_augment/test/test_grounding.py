"""From template and demonstration to segments, and what is refused."""

import dataclasses

import numpy as np
import pour_scene
import pytest

from pad_augment.errors import GroundingError
from pad_augment.grounding import ground
from pad_augment.skills import Take, learn_skills, levelled
from pad_parse import geometry
from pad_parse.demonstration import Segment, SegmentKind


def of_arm(segments: list[Segment], arm: int) -> list[Segment]:
    return [s for s in segments if s.arm == arm]


def test_the_pour_is_divided_as_its_template_says() -> None:
    demo = pour_scene.demonstration()
    segments = ground(demo)
    for arm, name in enumerate(pour_scene.OBJECTS):
        mine = of_arm(segments, arm)
        assert mine[0].start == 0 and mine[-1].end == demo.frame_count
        assert all(a.end == b.start for a, b in zip(mine, mine[1:], strict=False))
        skills = [s for s in mine if s.stage]
        assert [s.kind for s in skills] == [SegmentKind.ASYNC_SKILL, SegmentKind.SYNC_SKILL]
        assert skills[0].object == name and skills[1].reference == "cup"
        assert all(0 < s.confidence <= 1 and s.evidence for s in skills)
        # The hand closes at 2.1 s, the object moves from 2.5 s, the tilt begins after 3.5 s.
        assert demo.stamps[skills[0].start] < 1.8
        assert demo.stamps[skills[0].end] == pytest.approx(2.65, abs=0.2)
        assert demo.stamps[skills[1].start] == pytest.approx(3.7, abs=0.35)
    sync = [s for s in segments if s.kind == SegmentKind.SYNC_SKILL]
    assert (sync[0].start, sync[0].end) == (sync[1].start, sync[1].end)


def test_a_recording_that_begins_in_a_grasp_is_grounded() -> None:
    segments = ground(pour_scene.demonstration(first_frame=80))
    first = of_arm(segments, 1)[0]
    assert first.kind == SegmentKind.ASYNC_SKILL and "first frame" in first.evidence


def test_the_wrong_hand_is_named() -> None:
    with pytest.raises(GroundingError, match=r"grasp_bottle.*right hand"):
        ground(pour_scene.demonstration(hands=(1, 0)))


def test_a_hand_that_never_closes_is_named() -> None:
    demo = pour_scene.demonstration()
    closed = demo.gripper_closed.copy()
    closed[:, 0] = False
    with pytest.raises(GroundingError, match=r"grasp_cup.*never closes"):
        ground(dataclasses.replace(demo, gripper_closed=closed))


def test_a_task_without_stages_is_refused() -> None:
    demo = pour_scene.demonstration()
    with pytest.raises(GroundingError, match="has no stages"):
        ground(dataclasses.replace(demo, task=demo.task.model_copy(update={"stages": ()})))


def test_skills_hold_the_grasp_and_the_size_of_the_objects() -> None:
    skills = learn_skills(pour_scene.demonstration())
    take = skills.beats[0]
    assert isinstance(take, Take)
    for arm, name in enumerate(pour_scene.OBJECTS):
        radius, height, grip = pour_scene.SIZE[name]
        held = take.grips[arm]
        assert held is not None and held.object == name
        np.testing.assert_allclose(held.gripper_in_object, pour_scene.grasp(arm, grip), atol=1e-6)
        assert skills.shapes[name].radius == pytest.approx(radius, abs=0.002)
        assert skills.shapes[name].height == pytest.approx(height, rel=0.1)


def test_levelling_turns_the_closing_axis_only_as_far_as_needed() -> None:
    grasp = pour_scene.grasp(0, 0.05)
    turned = geometry.make_pose(geometry.rotation_exp([0.1, 0.05, 0.2]) @ grasp[:3, :3], grasp[:3, 3])
    level = levelled(turned)
    assert abs(level[2, 1]) < 1e-9 and geometry.is_rigid(level)
    assert geometry.rotation_angle(turned, level) == pytest.approx(np.arcsin(abs(turned[2, 1])), abs=1e-9)
    np.testing.assert_allclose(levelled(level), level, atol=1e-9)
