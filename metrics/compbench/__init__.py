"""T2V-CompBench: motion binding, action binding and dynamic attribute binding; see README.md."""
