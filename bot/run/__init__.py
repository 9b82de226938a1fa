"""A run: its events, the state they fold to, what may be appended, and what is to be done next. All pure."""
