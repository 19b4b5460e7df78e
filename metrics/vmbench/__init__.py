"""VMBench: five perception-aligned measures of motion; see README.md."""
