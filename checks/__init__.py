"""Things a plan can look at: one file a check."""
