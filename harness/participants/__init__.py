"""Rows whose clips are made without the suite's backbone: what makes them, and what is asked of it."""

from harness.participants.makers import Asked, Made, Maker, Offer, mismatch

__all__ = ["Asked", "Made", "Maker", "Offer", "mismatch"]
