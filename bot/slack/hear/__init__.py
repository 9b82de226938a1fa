"""From what people type and press in Slack to commands."""
