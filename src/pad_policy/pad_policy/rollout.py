"""Closed-loop evaluation of a policy in lock-step with an `Environment`, through the real command gate."""
