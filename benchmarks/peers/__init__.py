"""What the service's users would otherwise run, each as its documentation has it.

These files run in an environment of their own, `.venv-peers`, which `make bench` makes, and know
nothing of this project but its weights.
"""
