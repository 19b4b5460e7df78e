"""VideoAlign (VideoReward): visual quality, motion quality and text alignment as a Qwen2-VL reward model sees them."""
