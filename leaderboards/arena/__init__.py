"""Human preference: a blind study of clips in pairs, its judgements, and what they say. `serve` shows it to raters."""
