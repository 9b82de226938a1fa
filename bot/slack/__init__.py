"""Slack as one way in: `app` hears people, `render` draws a run, `publisher` makes Slack look like it."""
