"""`ctscan doctor`: from the kube context to a prediction through the ingress, step by step."""
