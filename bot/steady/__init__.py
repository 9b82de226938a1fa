"""What keeps one process calm: outages told once, floods told seldom, one look for many, a clock that does not jump."""
