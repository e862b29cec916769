"""What the service's users would otherwise run, each as its documentation has it.

These files run in an environment of their own, `.venv-peers`, and know nothing of this project but
the weights: `make .venv-peers` makes it.
"""
