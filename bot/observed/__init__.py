"""What handlers make of what they observed over time: good times of a release, means of numbers, exceptions of logs.

Pure: nothing here asks anybody.
"""
