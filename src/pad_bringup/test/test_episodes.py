"""The episode runner against a small stand-in for the node graph (real DDS, one process)."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("pad_msgs.msg", reason="pad_msgs is not built; build the workspace and source it")

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from pad_bringup import names
from pad_bringup.domain import private_domain
from pad_bringup.episodes import EpisodeLimits, EpisodeRunner
from pad_bringup.errors import EpisodeError, SupervisorError
from pad_bringup.session import Session
from pad_msgs.msg import CellOutcome, ObjectPose, SafetyState
from pad_msgs.srv import LocaliseKeypoints, ResetCell
from pad_parse import qos

LIMITS = EpisodeLimits(time_limit=20.0, confirm=1.0, silence=2.0, call_timeout=30.0)


class FakeGraph:
    """Answers what the runner asks; once enabled, its outcome is a success from 2 to 2.5 simulated s and from
    `good_from` on.
    """

    def __init__(self, session):
        node = session.node
        self.calls = []
        self.good_from = 4.0
        self.refuse_localisation = 0
        self.silent = False
        self.seed = 0
        self.time = self.enabled = 0.0
        self.limited = 5  # by episodes before
        self.state = State.PRIMARY_STATE_ACTIVE
        self.outcomes = node.create_publisher(CellOutcome, names.CELL_OUTCOME, qos.STATUS)
        self.safety = node.create_publisher(SafetyState, names.SAFETY, qos.STATUS)
        self.images = node.create_publisher(Image, names.COLOR_IMAGE, qos.CAMERA_OUT)
        node.create_service(ResetCell, names.CELL_RESET, self.on_reset)
        node.create_service(LocaliseKeypoints, names.LOCALISE_KEYPOINTS, self.on_localise)
        node.create_service(SetBool, names.ENABLE, self.on_enable)
        node.create_service(ChangeState, f"/{names.POLICY_NODE}/change_state", self.on_change)
        node.create_service(GetState, f"/{names.POLICY_NODE}/get_state", self.on_get)
        node.create_timer(0.03, self.tick)

    def on_reset(self, request, response):
        self.calls.append(f"reset {request.seed}")
        self.seed, self.time = request.seed, 0.0
        pose = ObjectPose(name="cup")
        pose.pose.position.x, pose.pose.orientation.w = 0.25, 1.0
        response.success, response.objects = True, [pose]
        return response

    def on_localise(self, request, response):
        self.calls.append("localise")
        self.refuse_localisation -= 1
        response.success = self.refuse_localisation < 0
        response.message = "" if response.success else "cup is hidden"
        return response

    def on_enable(self, request, response):
        self.calls.append("enable" if request.data else "disable")
        self.limited += 7 * request.data
        self.enabled = self.time
        response.success = True
        return response

    def on_change(self, request, response):
        on = request.transition.id == Transition.TRANSITION_ACTIVATE
        self.calls.append("activate" if on else "deactivate")
        self.state = State.PRIMARY_STATE_ACTIVE if on else State.PRIMARY_STATE_INACTIVE
        response.success = True
        return response

    def on_get(self, request, response):
        response.current_state.id = self.state
        return response

    def tick(self):
        self.safety.publish(SafetyState(velocity_limited=self.limited))
        if self.silent:
            return
        self.time += 0.1
        since = self.time - self.enabled
        good = 2.0 <= since < 2.5 or since >= self.good_from
        cause = "" if good else "3 of 25 balls are in the cup"
        self.outcomes.publish(CellOutcome(seed=self.seed, time=self.time, success=good, cause=cause))
        image = Image(height=2, width=2, step=6, encoding="rgb8", data=bytes(range(12)))
        image.header.stamp.sec, image.header.stamp.nanosec = int(self.time), int(1e9 * (self.time % 1))
        self.images.publish(image)


@pytest.fixture(scope="module")
def sessions():
    with private_domain() as domain:
        environment = {"ROS_DOMAIN_ID": str(domain)}
        with Session("fake_graph", environment) as graph, Session("runner", environment) as client:
            yield graph, client


@pytest.fixture
def graph(sessions):
    fake = FakeGraph(sessions[0])
    yield fake
    fake.silent = True
    node = sessions[0].node
    for timer in list(node.timers):
        node.destroy_timer(timer)
    for service in list(node.services):
        node.destroy_service(service)


def test_an_episode_from_reset_to_verdict(graph, sessions):
    result, clip = EpisodeRunner(sessions[1], limits=LIMITS).run(41)
    assert graph.calls == [
        *("disable", "deactivate", "reset 41", "localise", "activate", "enable"),
        *("disable", "deactivate"),
    ]
    # the half second of success from 2 s on was too short to count
    assert result.success and result.cause == "" and 3.0 < result.seconds < LIMITS.time_limit
    assert result.objects == {"cup": (0.25, 0.0, 0.0)} and result.interventions["velocity_limited"] == 7
    assert 5 <= len(clip.frames) <= 60 and clip.rate == pytest.approx(len(clip.frames) / result.seconds, rel=0.5)
    np.testing.assert_array_equal(clip.frames[0][0, 0], [0, 1, 2])


def test_time_runs_out(graph, sessions):
    graph.good_from = 1e9
    limits = replace(LIMITS, time_limit=6.0)
    result, _ = EpisodeRunner(sessions[1], limits=limits).run(1)
    assert not result.success and result.cause == "3 of 25 balls are in the cup"
    assert result.seconds > 6.0 - 0.1


def test_localisation_is_tried_again_and_its_failure_is_a_result(graph, sessions):
    graph.refuse_localisation = 2
    result, _ = EpisodeRunner(sessions[1], limits=LIMITS).run(2)
    assert result.success and graph.calls.count("localise") == 3
    graph.refuse_localisation = 99
    result, clip = EpisodeRunner(sessions[1], limits=LIMITS).run(3)
    assert not result.success and result.cause == "not localised: cup is hidden" and clip.frames == []


def test_a_silent_cell_is_an_error(graph, sessions):
    graph.silent = True
    with pytest.raises(EpisodeError, match="/cell/outcome has been silent for 2 s"):
        EpisodeRunner(sessions[1], limits=LIMITS).run(4)


def test_giving_up_is_possible_while_waiting(graph, sessions):
    graph.good_from = 1e9
    stop = threading.Event()

    def check():
        if stop.is_set():
            raise SupervisorError("sim_cell stopped")

    threading.Timer(0.3, stop.set).start()
    begin = time.monotonic()
    with pytest.raises(SupervisorError):
        EpisodeRunner(sessions[1], limits=EpisodeLimits(time_limit=1e6), still_wanted=check).run(5)
    assert time.monotonic() - begin < 30
