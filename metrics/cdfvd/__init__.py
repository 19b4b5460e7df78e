"""CD-FVD (Ge et al. 2024): a Frechet distance between the video features of generated and of real clips."""
