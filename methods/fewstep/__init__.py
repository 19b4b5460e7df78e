"""What few-step students of every family share: the sampler S2 and its lists of times."""

from methods.fewstep.renoise import Renoise, StudentStep, fresh_noise, predict_x0, renoise

__all__ = ["Renoise", "StudentStep", "fresh_noise", "predict_x0", "renoise"]
