"""Late images are left out until the node has caught up; a clock that was set anew makes none late for long."""

from hypothesis import given
from hypothesis import strategies as st

from pad_parse.nodes.lateness import Lateness


@given(offset=st.floats(-1e6, 1e6), noise=st.lists(st.floats(0.0, 0.09), min_size=1, max_size=50))
def test_usual_delays_are_never_late_whatever_the_cameras_clock(offset: float, noise: list[float]) -> None:
    lateness = Lateness(0.1)
    assert not any(lateness.is_late(offset + value) for value in noise)


def test_a_backlog_is_left_out() -> None:
    lateness = Lateness(0.1)
    assert not any(lateness.is_late(0.03) for _ in range(50))
    assert [lateness.is_late(delay) for delay in (0.5, 0.43, 0.36, 0.3, 0.23, 0.05)] == [True] * 5 + [False]


@given(jump=st.floats(0.2, 1e6), backwards=st.booleans())
def test_a_clock_set_anew_costs_a_few_images(jump: float, backwards: bool) -> None:
    lateness = Lateness(0.1)
    for _ in range(50):
        lateness.is_late(0.05)
    lateness.is_late(0.05 - jump if backwards else 0.05)  # an image stamped after the jump, seen before it
    late = [lateness.is_late(0.05 if backwards else 0.05 + jump) for _ in range(20)]
    assert sum(late) == 5 and not any(late[5:])
