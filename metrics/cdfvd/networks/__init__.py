"""The networks whose features are compared: VideoMAE-v2 and I3D from official checkpoints, and a small one."""
