"""The command: serve, predict. It starts the services as processes and never imports them."""
