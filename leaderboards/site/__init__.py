"""A leaderboard as a folder of plain files: opens from disk, asks nothing of any server.

index.html     the table (sort, filter, explanations), Pareto and radar plots, who beats whom
rows/          a page a row: configuration, scores, cost, training, clips
prompts/       a page a prompt: all rows side by side on one clock
media/         copies of the clips
"""

from leaderboards.site.write import write_site

__all__ = ["write_site"]
