"""VideoPhy-2 AutoEval: a vision-language judge of prompt adherence and everyday physics; see README.md."""
