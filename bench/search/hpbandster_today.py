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
