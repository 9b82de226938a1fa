"""The rollback bot: one log of events per run, and what reads and writes it."""
