"""Makes Slack look like the record: calls, their pace, what goes wrong."""
