"""What a run leaves, and how it is read back: scraps, record, environment, events.

Only these modules know the form in which a run's results lie in its notebook and beside
it. Files are written in one step, so that a reader finds them whole or not at all.
"""
