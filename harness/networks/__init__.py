"""Networks that methods and metrics read from the checkpoints their authors published, and how these are read."""
