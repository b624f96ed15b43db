"""How well a policy does: rollouts in three modes with one result format, failures by cause, clips, baselines."""
