"""Differentiable rewards, parts of kind "reward". See README.md."""

from methods.rewards.base import Reward, RewardOptions
from methods.rewards.clip import ClipScore, HPSv21
from methods.rewards.shapes import ShapesReader, ShapesVideoText
from methods.rewards.viclip import ViClip

__all__ = ["ClipScore", "HPSv21", "Reward", "RewardOptions", "ShapesReader", "ShapesVideoText", "ViClip"]
