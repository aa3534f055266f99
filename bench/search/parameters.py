"""What the adapters need to know of a space, as a study file writes it: categories, floats, integers, and conditions of the kinds
`parent = value` and `parent in (value, value)`, parents first."""
import math
import re


class Parameter:
    def __init__(self, name, written):
        self.name, self.kind, self.values, self.log, self.parent, self.parent_values = name, "category", None, False, None, ()
        if isinstance(written, dict):
            self.values = written.get("values")
            self.log = written.get("log", False)
            if "int" in written:
                self.kind, (self.low, self.high) = "int", written["int"]
            elif "low" in written:
                self.kind, self.low, self.high = "float", written["low"], written["high"]
            if "if" in written:
                self.parent, values = re.fullmatch(r"(\w+) (?:= |in \()(.*?)\)?", written["if"]).groups()
                self.parent_values = tuple(values.split(", "))
        else:
            self.values = written

    def active(self, config):
        return self.parent is None or config.get(self.parent) in self.parent_values

    def at(self, share):
        """The value at `share` in [0, 1) of a range, each integer as wide as the others."""
        if self.kind == "category":
            return self.values[int(share * len(self.values))]
        low, high = (self.low - .5, self.high + .5) if self.kind == "int" else (self.low, self.high)
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        return min(max(round(value), self.low), self.high) if self.kind == "int" else value

    def share(self, value):
        """Where a number lies in its range, [0, 1]."""
        low, high = float(self.low), float(self.high)
        return math.log(value / low) / math.log(high / low) if self.log else (value - low) / (high - low)


def parameters(space):
    return [Parameter(name, written) for name, written in space.items()]


def draw(space, dice):
    """A random config."""
    config = {}
    for parameter in parameters(space):
        share = dice.random()
        if parameter.active(config):
            config[parameter.name] = parameter.at(share)
    return config
