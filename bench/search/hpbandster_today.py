"""HpBandSter 0.7.4 on today's libraries: give_back() restores, from outside, the ConfigSpace and numpy names it calls.

The package itself is not changed: its generator, its brackets and its statsmodels densities are what is measured.
"""


def give_back():
    import ConfigSpace
    import ConfigSpace.util
    import numpy

    def plain(value):
        if isinstance(value, str):
            return str(value)
        return value.item() if hasattr(value, "item") else value

    space, config = ConfigSpace.ConfigurationSpace, ConfigSpace.Configuration
    if hasattr(space, "get_hyperparameters"):
        return
    space.get_hyperparameters = lambda self: list(self.values())
    space.get_hyperparameter_names = lambda self: list(self.keys())
    space.get_hyperparameter_by_idx = lambda self, index: list(self.keys())[index]
    space.get_hyperparameter = lambda self, name: self[name]
    config.get_dictionary = lambda self: {key: plain(value) for key, value in dict(self).items()}
    if not hasattr(config, "get_array"):
        config.get_array = lambda self: self._vector
    make = config.__init__

    def __init__(self, configuration_space, values=None, vector=None, **more):
        make(self, configuration_space, values=values,
             vector=None if vector is None else numpy.asarray(vector, float), **more)

    config.__init__ = __init__
    deactivate = ConfigSpace.util.deactivate_inactive_hyperparameters
    ConfigSpace.util.deactivate_inactive_hyperparameters = \
        lambda configuration, configuration_space, **more: deactivate(dict(configuration), configuration_space, **more)
    for name, kind in (("float", float), ("int", int), ("bool", bool)):
        if name not in vars(numpy):
            setattr(numpy, name, kind)


def same_densities_sooner(module):
    """In the config generator's module: statsmodels' product kernel as one numpy expression and the truncated normal by inversion.
    The decisions have the same distribution, in a fiftieth of the time: for curves, never for ask times.
    """
    import math
    import types

    import numpy
    import scipy.special
    import statsmodels.api

    class TruncatedNormal:
        @staticmethod
        def rvs(a, b, loc=0, scale=1):
            low, high = scipy.special.ndtr(a), scipy.special.ndtr(b)
            return min(max(float(loc + scale * scipy.special.ndtri(low + numpy.random.rand() * (high - low))), 0.), 1.)

    class Density(statsmodels.api.nonparametric.KDEMultivariate):
        def prepare(self):
            data, width = numpy.asarray(self.data, float), numpy.asarray(self.bw, float)
            category = numpy.array([kind == "u" for kind in self.var_type])
            levels = numpy.array([numpy.unique(data[:, j]).size for j in range(data.shape[1])], float)
            self.numbers_, self.categories_ = numpy.flatnonzero(~category), numpy.flatnonzero(category)
            self.scale_ = math.sqrt(.5) / width[~category]
            self.scaled_ = data[:, ~category] * self.scale_
            self.constant_ = 1 / (len(data) * numpy.prod(math.sqrt(2 * math.pi) * width[~category]))
            self.levels_ = data[:, category]
            with numpy.errstate(all="ignore"):
                self.same_, self.other_ = 1 - width[category], width[category] / (levels[category] - 1)

        def pdf(self, x):
            if not hasattr(self, "scale_"):
                self.prepare()
            x = numpy.asarray(x, float)
            off = self.scaled_ - x[self.numbers_] * self.scale_
            weights = numpy.exp(-numpy.einsum("ij,ij->i", off, off))
            if len(self.categories_):
                weights = weights * numpy.where(self.levels_ == x[self.categories_], self.same_, self.other_).prod(axis=1)
            return weights.sum() * self.constant_

    module.sps = types.SimpleNamespace(truncnorm=TruncatedNormal)
    module.sm = types.SimpleNamespace(nonparametric=types.SimpleNamespace(KDEMultivariate=Density))
