from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
SHARED_FOLDERS = ("launch", "config", "description", "rviz", "tasks")


def shared_files():
    """Every file below the shared folders, grouped by the folder it is installed to."""
    groups = {}
    for top in SHARED_FOLDERS:
        for path in sorted((HERE / top).rglob("*")):
            relative = path.relative_to(HERE)
            if path.is_file() and "__pycache__" not in relative.parts:
                groups.setdefault(f"share/pad_bringup/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return sorted(groups.items())


setup(
    name="pad_bringup",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={"pad_bringup.report": ["*.j2", "*.css", "*.js"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/pad_bringup"]),
        ("share/pad_bringup", ["package.xml"]),
        *shared_files(),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="PAD for ROS 2 maintainers",
    maintainer_email="maintainers@pad-robotics.org",
    description="The whole of PAD, brought up: cell, launch files, command line, viewer, report",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "sim_cell = pad_bringup.nodes.sim_cell:main",
            "mock_cell = pad_bringup.nodes.mock_cell:main",
            "player = pad_bringup.nodes.player:main",
            "status_markers = pad_bringup.nodes.status_markers:main",
            "recorder = pad_bringup.nodes.recorder:main",
            "replay = pad_bringup.nodes.replay:main",
            "viewer = pad_bringup.nodes.viewer:main",
            "pad = pad_bringup.cli:main",
        ],
    },
)
