"""VBench-2.0: the repository's own judges, a clip at a time, and the category scores its leaderboard shows."""
