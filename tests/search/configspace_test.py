"""200 random spaces of the real ConfigSpace package go to Rung and back; configs drawn by either side are legal for the
other. Runs under the environment that has the package: RUNG_CACHE/configspace."""
import json
import os
import random
import signal
import subprocess
import sys
import tempfile

SPACES = 200
CONFIGS = 100

PYTHON = os.path.join(os.environ["RUNG_CACHE"], "configspace", "bin", "python")
try:
    import ConfigSpace as cs
    import numpy
except ImportError:
    if os.path.realpath(sys.prefix) == os.path.realpath(os.path.join(os.environ["RUNG_CACHE"], "configspace")):
        raise
    if not os.path.exists(PYTHON):
        sys.exit("ConfigSpace is not installed: make test-deps")
    os.execv(PYTHON, [PYTHON, os.path.abspath(__file__)])

RUNG = os.path.join(os.environ["RUNG_BIN_DIR"], "rung")


def rung(*arguments):
    done = subprocess.run([RUNG, "space", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"rung space {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def parameter(rng, name):
    kind = rng.randrange(10)
    log = rng.random() < .4
    if kind == 0:
        return cs.Categorical(name, rng.sample(["a", "b b", "c", "true", "3", "not", "p0"], rng.randint(2, 5)))
    if kind == 1:
        size = rng.randint(2, 4)
        return cs.Categorical(name, list(range(size)), weights=[rng.randint(1, 9) for _ in range(size)])
    if kind == 2:
        return cs.Categorical(name, [True, False])
    if kind == 3:
        return cs.OrdinalHyperparameter(name, rng.choice([["small", "middle", "large"], [1, 4, 16, 64], [.1, .5]]))
    if kind == 4:
        return cs.Constant(name, rng.choice(["x", 3, .25]))
    low = rng.choice([1e-5, .1, 1]) if log else rng.choice([-3., 0., .5])
    high = low + rng.choice([1, 7.5, 100])
    if kind == 5:
        return cs.Float(name, (low, high), log=log)
    if kind == 6:
        middle = low + (high - low) * rng.random()
        return cs.Float(name, (low, high), log=log, distribution=cs.Normal(middle, (high - low) / 4))
    if kind == 7:
        return cs.Float(name, (low, high), log=log, distribution=cs.Beta(rng.randint(2, 4), rng.randint(2, 4)))
    low, high = int(low) + 1, int(low) + rng.choice([4, 30, 1000])
    if kind == 8:
        return cs.Integer(name, (max(low, 1) if log else low, high + 1), log=log)
    return cs.Integer(name, (low, high), distribution=cs.Normal((low + high) / 2, 3))


def value_of(rng, parent):
    """A value that the parent often has, and not always."""
    if isinstance(parent, (cs.CategoricalHyperparameter, cs.OrdinalHyperparameter)):
        return rng.choice(list(parent.choices if hasattr(parent, "choices") else parent.sequence))
    return parent.sample_value(seed=numpy.random.RandomState(rng.randrange(10**6)))


def plain(value):
    return value.item() if hasattr(value, "item") else value


def condition(rng, child, parents, depth):
    if depth < 4 and len(parents) > 1 and rng.random() < .45:
        parts = [condition(rng, child, parents, depth + 1) for _ in range(rng.randint(2, 3))]
        return rng.choice([cs.AndConjunction, cs.OrConjunction])(*parts)
    parent = rng.choice(parents)
    value = plain(value_of(rng, parent))
    ordered = not isinstance(parent, (cs.CategoricalHyperparameter, cs.Constant))
    if isinstance(parent, cs.Constant):
        return cs.EqualsCondition(child, parent, value)
    kinds = [cs.EqualsCondition, cs.NotEqualsCondition]
    if ordered:
        kinds += [cs.LessThanCondition, cs.GreaterThanCondition] * 2
    elif len(parent.choices) > 2:
        kinds.append(lambda c, p, v: cs.InCondition(c, p, rng.sample(list(p.choices), 2)))
    return rng.choice(kinds)(child, parent, value)


def forbidden(rng, parameters):
    numbers = [p for p in parameters if isinstance(p, (cs.UniformFloatHyperparameter, cs.UniformIntegerHyperparameter))]
    if len(numbers) >= 2 and rng.random() < .4:
        left, right = rng.sample(numbers, 2)
        kind = rng.choice([cs.ForbiddenLessThanRelation, cs.ForbiddenGreaterThanRelation, cs.ForbiddenEqualsRelation])
        return kind(left, right)
    parts = []
    for each in rng.sample(parameters, 2):
        value = plain(value_of(rng, each))
        if isinstance(each, cs.CategoricalHyperparameter) and len(each.choices) > 2 and rng.random() < .5:
            parts.append(cs.ForbiddenInClause(each, rng.sample(list(each.choices), 2)))
        elif isinstance(each, (cs.UniformFloatHyperparameter, cs.UniformIntegerHyperparameter)):
            parts.append(rng.choice([cs.ForbiddenLessThanClause, cs.ForbiddenGreaterThanClause])(each, value))
        else:
            parts.append(cs.ForbiddenEqualsClause(each, value))
    return cs.ForbiddenAndConjunction(*parts)


def random_space(seed):
    rng = random.Random(seed)
    space = cs.ConfigurationSpace(seed=seed)
    parameters = [parameter(rng, f"p{i}") for i in range(rng.randint(3, 10))]
    space.add(*parameters)
    for i in range(2, len(parameters)):
        if rng.random() < .5:
            try:
                space.add(condition(rng, parameters[i], parameters[:i], 0))
            except (ValueError, TypeError):
                pass  # what the package itself refuses
    for _ in range(rng.randint(0, 2)):
        try:
            space.add(forbidden(rng, parameters))
        except Exception:  # its own errors: the default would be forbidden
            pass
    return space


def legal(space, config):
    """Raises where the package finds the config illegal."""
    cs.Configuration(space, values=config).check_valid_configuration()


def is_legal(space, config):
    try:
        legal(space, config)
    except TimeoutError:
        raise
    except Exception:
        return False
    return True


def drawn_by_the_package(space):
    """CONFIGS configs; fewer where it does not come to an end. It also draws, of some spaces, what it calls illegal itself."""
    found = []

    def give_up(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(2)
    try:
        while len(found) < CONFIGS:
            found += [config for c in space.sample_configuration(CONFIGS) if is_legal(space, config := dict(c))]
    except TimeoutError:
        pass
    signal.alarm(0)
    return found[:CONFIGS]


def main():
    sys.setrecursionlimit(10000)
    conditions = clauses = 0
    with tempfile.TemporaryDirectory() as directory:
        theirs, ours, back, configs = (os.path.join(directory, n) for n in
                                       ("theirs.json", "ours.json", "back.json", "configs.jsonl"))
        made = seed = 0
        while made < SPACES:
            seed += 1
            space = random_space(seed)
            drawn = drawn_by_the_package(space)
            if len(drawn) < CONFIGS or len({json.dumps(c, default=plain, sort_keys=True) for c in drawn}) < 2:
                continue
            try:  # the package keeps a clause that it refused because the default breaks it
                legal(space, dict(space.get_default_configuration()))
            except Exception:
                continue
            made += 1
            conditions += len(space.conditions)
            clauses += len(space.forbidden_clauses)
            space.to_json(theirs)
            with open(ours, "w", encoding="utf-8") as file:
                file.write(rung("convert", theirs, "--to", "rung"))
            with open(back, "w", encoding="utf-8") as file:
                file.write(rung("convert", ours, "--to", "configspace"))
            returned = cs.ConfigurationSpace.from_json(back)
            assert sorted(returned) == sorted(space), seed
            with open(configs, "w", encoding="utf-8") as file:
                for config in drawn:
                    file.write(json.dumps({k: plain(v) for k, v in config.items()}) + "\n")
            try:
                rung("check", ours, configs)
                for line in rung("sample", ours, "--count", str(CONFIGS), "--seed", str(seed)).splitlines():
                    legal(space, json.loads(line))
                    legal(returned, json.loads(line))
                for config in drawn:
                    legal(returned, config)
            except Exception:
                print(f"seed {seed}\n{space}\n{open(ours, encoding='utf-8').read()}")
                raise
    assert conditions > 200 and clauses > 50, (conditions, clauses)
    print(f"{made} spaces with {conditions} conditions and {clauses} forbidden clauses, {CONFIGS} configs each way")


if __name__ == "__main__":
    main()
