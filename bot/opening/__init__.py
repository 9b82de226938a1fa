"""Opening a run: everything that it will work from, found, checked and pinned; and what earlier ones have left."""
