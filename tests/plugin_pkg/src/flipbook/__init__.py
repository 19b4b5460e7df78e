"""A stranger's plugins: clips of one square, a loss on pairs of frames, a score of how a clip comes back."""

from flipbook.pairs import Pairs

__all__ = ["Pairs"]
