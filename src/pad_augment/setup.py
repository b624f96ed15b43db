from setuptools import find_packages, setup

setup(
    name="pad_augment",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/pad_augment"]),
        ("share/pad_augment", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="PAD for ROS 2 maintainers",
    maintainer_email="maintainers@pad-robotics.org",
    description="One demonstration becomes many, for two arms",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "tamp_server = pad_augment.nodes.tamp_server:main",
        ],
    },
)
