"""Where the camera is: its pose in the task frame from images of a printed board."""
