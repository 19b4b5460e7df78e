"""The networks of VBench's dimensions, read from the checkpoints its authors published."""
