"""VBench dimensions under their official names: official formulas, official weights where there are any."""
