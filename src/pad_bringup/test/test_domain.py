"""Graphs that run side by side on one machine do not meet."""

import os

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from pad_bringup.domain import private_domain
from pad_bringup.errors import SupervisorError
from pad_bringup.session import Session


def test_two_graphs_get_two_domains(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    with private_domain() as first, private_domain() as second:
        assert first != second


def test_the_users_domain_is_taken_and_a_wrong_one_refused(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    with private_domain() as number:
        assert number == 7
    monkeypatch.setenv("ROS_DOMAIN_ID", "seven")
    with pytest.raises(SupervisorError, match="'seven'; it must be a number"), private_domain():
        pass


def test_a_session_leaves_the_environment_as_it_was(monkeypatch):
    """Else the next private domain of the process would be this one, which is somebody else's by then."""
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    before = dict(os.environ)
    with private_domain() as domain, Session("guest", {"ROS_DOMAIN_ID": str(domain)}):
        assert os.environ["ROS_DOMAIN_ID"] == str(domain)
    assert dict(os.environ) == before
