"""Point trackers and their accuracy: Lucas-Kanade in this process, CoTracker3 and BootsTAPIR by their official code."""
