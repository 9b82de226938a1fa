"""A Slack workspace, a Kubernetes API and a shop to break, on loopback; imports nothing of ours."""
