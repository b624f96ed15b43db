from setuptools import find_packages, setup

setup(
    name="pad_parse",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={"pad_parse.annotator": ["page/*"], "pad_parse.report": ["*.j2", "*.css"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/pad_parse"]),
        ("share/pad_parse", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="PAD for ROS 2 maintainers",
    maintainer_email="maintainers@pad-robotics.org",
    description="A recording of a person becomes a demonstration; live, the same trackers feed the policy",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "keypoint_tracker = pad_parse.nodes.keypoint_tracker:main",
            "hand_tracker = pad_parse.nodes.hand_tracker:main",
            "demonstration_server = pad_parse.nodes.demonstration_server:main",
        ],
    },
)
