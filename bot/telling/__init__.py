"""What people read, whichever way in: a run in words, its changes, its time, how to go on by hand."""
