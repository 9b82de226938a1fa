"""Things a plan can do: one file an action."""
