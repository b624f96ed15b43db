"""What `pad bench aloha` measures: PAD's cores on a robot, a simulator and a task that are not ours."""
