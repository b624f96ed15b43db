"""Templates other than "both hands take something, then work in sync", from a demonstration to generated episodes."""

from dataclasses import replace

import numpy as np
import pour_scene
import pytest
import staged_scene

from pad_augment.config import GeneratorConfig
from pad_augment.errors import GroundingError
from pad_augment.generator import SceneWork
from pad_augment.grounding import ground, ground_stages
from pad_augment.kinematics import RobotProfile
from pad_augment.scene_plan import ScenePlan
from pad_augment.skills import SkillSet, Take, Work, learn_skills
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, SegmentKind

PLAIN = GeneratorConfig(recovery_probability=0.0, displacement_probability=0.0, region_margin=0.0)


def planned(demo: Demonstration, count: int = 6, config: GeneratorConfig = PLAIN) -> tuple[SkillSet, list[ScenePlan]]:
    """The first scenes of a demonstration, with its grasps turned as the robot needs it."""
    work = SceneWork(demo, RobotProfile.load(pour_scene.PROFILE), config, 0, "roboplan")
    work = replace(work, turns=work.chosen_turns())
    results = work.attempt(range(count))
    good = [result for result in results if isinstance(result, ScenePlan)]
    assert len(good) >= 0.7 * count, [str(result) for result in results]
    assert not any(work.scene_planner.collides_again(plan, 0.005) for plan in good[:2])
    return work.skills, good


def works(skills: SkillSet) -> list[Work]:
    return [beat for beat in skills.beats if isinstance(beat, Work)]


def steps_of(plan: ScenePlan, arm: int) -> list[np.ndarray]:
    """Runs of steps in which an arm works or grasps."""
    busy = plan.kinds[:, arm] == SegmentKind.ASYNC_SKILL
    return np.split(np.flatnonzero(busy), np.flatnonzero(np.diff(np.flatnonzero(busy)) > 1) + 1)


def test_one_hand_holds_the_bowl_while_the_other_stirs_in_it() -> None:
    demo = staged_scene.stir()
    segments = ground(demo)
    held = next(s for s in segments if s.stage == "hold_bowl")
    assert "held still" in held.evidence and held.confidence < 0.6
    assert next(s for s in segments if s.stage == "stir").kind == SegmentKind.ASYNC_SKILL
    skills, plans = planned(demo)
    (work,) = works(skills)
    part = work.parts[1]
    assert work.active == (False, True) and part is not None and part.reference == "bowl"
    assert ("bowl", "spoon") in {tuple(sorted(pair)) for pair in work.touching}
    for plan in plans:
        np.testing.assert_allclose(plan.objects["bowl"], plan.objects["bowl"][:1].repeat(len(plan), 0), atol=1e-9)
        stirring = steps_of(plan, 1)[-1]
        assert (plan.kinds[stirring, 0] == SegmentKind.IDLE).all()
        shown = geometry.inverse(part.reference_pose) @ part.poses[-1]
        done = geometry.inverse(plan.placement["bowl"]) @ plan.plan.poses[stirring[-1], 1]
        np.testing.assert_allclose(done, shown, atol=1e-9)


def test_one_hand_holds_a_container_while_the_other_takes_its_lid_off() -> None:
    demo = staged_scene.open_container()
    assert [(s.stage, s.kind) for s in ground(demo) if s.stage == "lid_off"] == [("lid_off", SegmentKind.ASYNC_SKILL)]
    skills, plans = planned(demo, config=PLAIN.model_copy(update={"object_scale": 0.1}))
    (work,) = works(skills)
    part = work.parts[1]
    assert work.release[1] and part is not None and part.reference == "container"
    shown = geometry.inverse(demo.object_poses["container"][0]) @ demo.object_poses["lid"]
    turned = set()
    for plan in plans:
        container = plan.placement["container"]
        turned.add(round(float(np.arctan2(container[1, 0], container[0, 0])), 6))
        np.testing.assert_allclose(plan.objects["container"], container[None].repeat(len(plan), 0), atol=1e-9)
        seen = geometry.inverse(container) @ plan.objects["lid"]
        np.testing.assert_allclose(seen[0], shown[0], atol=1e-6, err_msg="the lid is on the container at first")
        np.testing.assert_allclose(seen[-1, :3, 3], shown[-1, :3, 3], atol=0.004, err_msg="and lies beside it at last")
        rising = seen[: int(np.argmax(seen[:, 2, 3])), 2, 3]
        assert np.diff(rising).min() > -1e-4, "the lid does not come down again once it is off"
        held = next(i for i, stretch in enumerate(plan.stretches) if stretch.held[1] == "lid")
        assert (
            plan.stretches[held].held[0] == "container" or "left" in plan.stretches[held].bodies["container"].touching
        )
    assert len(turned) == len(plans)


def test_one_hand_drops_two_things_one_after_the_other() -> None:
    demo = staged_scene.clear()
    skills, plans = planned(demo)
    assert [type(beat) for beat in skills.beats] == [Take, Work, Take, Work]
    assert all(work.release == (False, True) for work in works(skills))
    box = demo.object_poses["box"][0]
    for plan in plans:
        np.testing.assert_allclose(plan.plan.poses[:, 0], plan.plan.poses[:1, 0].repeat(len(plan), 0), atol=1e-9)
        change = plan.placement["box"] @ geometry.inverse(box)
        for name in ("one", "two"):
            # It ends where it fell in the demonstration, seen from the box; tracking is smoothed a little.
            ends = change @ demo.object_poses[name][-1]
            np.testing.assert_allclose(plan.objects[name][-1, :3, 3], ends[:3, 3], atol=0.004)
            assert np.linalg.norm(np.diff(plan.objects[name][:, :3, 3], axis=0), axis=1).max() < 0.16
        held = [stretch.held[1] for stretch in plan.stretches]
        assert [name for name, before in zip(held, [None, *held], strict=False) if name != before] == [
            "one",
            None,
            "two",
            None,
        ]


def moved_block(frames: slice = slice(None), end: float = 5.0) -> Demonstration:
    """The right hand takes a block and sets it down nearer to the box; the recording ends before it opens."""
    demo = staged_scene.clear()
    spec = demo.task.model_copy(update={"stages": demo.task.stages[:2]})
    right = [
        (0.0, (-0.2, -0.35, 0.2), ""),
        (1.2, (0.0, -0.24, 0.06), "one"),
        (1.4, (0.0, -0.24, 0.06), "one"),
        (2.5, (0.0, -0.1, 0.16), "one"),
        (4.0, (0.0, 0.02, 0.06), "one"),
        (end, (0.0, 0.02, 0.06), "one"),
    ]
    left = [(0.0, (-0.2, 0.35, 0.2), ""), (end, (-0.2, 0.35, 0.2), "")]
    places = {"one": (0, -0.24), "two": (0, -0.1), "box": (0.0, 0.15)}
    sizes = {"one": (0.02, 0.1), "two": (0.02, 0.02), "box": (0.05, 0.06)}
    whole = staged_scene.demonstration(spec, places, sizes, (left, right))
    cut = {
        name: value[frames]
        for name, value in vars(whole).items()
        if isinstance(value, np.ndarray) and len(value) == whole.frame_count
    }
    return replace(whole, **cut, object_poses={name: poses[frames] for name, poses in whole.object_poses.items()})


@pytest.mark.parametrize("frames", [slice(None), slice(40, None)], ids=["whole", "begins in the grasp"])
def test_approach_and_retreat_are_added(frames: slice) -> None:
    skills, plans = planned(moved_block(frames))
    assert works(skills)[-1].release == (False, True)
    for plan in plans:
        tcp = plan.plan.poses[:, 1, :3, 3]
        first = next(i for i, stretch in enumerate(plan.stretches) if stretch.held[1])
        grasp = sum(plan.plan.lengths[:first])
        assert np.linalg.norm(tcp[0] - tcp[grasp]) > 0.1, "it comes from away"
        assert plan.command[-1, 1] > plan.command[grasp, 1] + 0.02, "it opens"
        path = plan.objects["one"][:, :3, 3]
        rest = int(np.flatnonzero(np.linalg.norm(path - path[-1], axis=1) > 1e-9)[-1]) + 1
        assert np.linalg.norm(tcp[-1] - tcp[rest]) == pytest.approx(PLAIN.approach_distance, abs=1e-6), "it backs away"
        assert abs(path[-1, 2]) < 0.005


def test_what_does_not_fit_is_named() -> None:
    demo = staged_scene.clear()
    one, two = demo.task.stages[:2], demo.task.stages[2:]
    with pytest.raises(GroundingError, match=r"take_one.*right hand.*after"):
        ground(replace(demo, task=demo.task.model_copy(update={"stages": (*two, *one)})))
    with pytest.raises(GroundingError, match=r"'two' is moved.*no stage"):
        ground(replace(demo, task=demo.task.model_copy(update={"stages": one})))
    with pytest.raises(GroundingError, match="no stage of kind skill"):
        task = demo.task.model_copy(update={"stages": (one[0], two[0])})
        learn_skills(replace(demo, task=task))
    wrong = one[1].model_copy(update={"arm": "left"})
    with pytest.raises(GroundingError, match=r"done by the left hand, but the 'one' is held by the right"):
        ground(replace(demo, task=demo.task.model_copy(update={"stages": (one[0], wrong, *two)})))


def test_segments_that_a_person_has_set_are_kept() -> None:
    demo = staged_scene.stir()
    automatic = ground(demo)
    assert ground(replace(demo, segments=automatic)) == automatic
    found = next(s for s in automatic if s.stage == "stir")
    mine = replace(found, start=found.start + 30, end=found.end - 15, confidence=1.0, evidence="set by hand")
    edited = replace(demo, segments=[mine])
    kept = ground_stages(edited)
    assert kept.skills[0].start == mine.start and kept.skills[0].end == mine.end
    assert next(s for s in kept.segments if s.stage == "stir").evidence == "set by hand"
    assert [s for s in kept.segments if s.stage == "take_spoon"] == [s for s in automatic if s.stage == "take_spoon"]
    seconds = [works(learn_skills(d))[0].stamps[-1] for d in (demo, edited)]
    assert seconds[0] - seconds[1] == pytest.approx(1.5, abs=1e-6)
    with pytest.raises(GroundingError, match="known: hold_bowl"):
        ground(replace(demo, segments=[replace(mine, stage="shake")]))
    with pytest.raises(GroundingError, match="marked for the left arm"):
        ground(replace(demo, segments=[replace(mine, arm=0)]))
