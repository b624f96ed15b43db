from setuptools import find_packages, setup

setup(
    name="pad_policy",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/pad_policy"]),
        ("share/pad_policy", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="PAD for ROS 2 maintainers",
    maintainer_email="maintainers@pad-robotics.org",
    description="A keypoint policy, trained and run behind a command gate",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "policy_node = pad_policy.nodes.policy_node:main",
            "command_gate = pad_policy.nodes.command_gate:main",
        ],
    },
)
