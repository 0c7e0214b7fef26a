"""`python -m benchmarks.decision_power`: how often `eval tune` steers, by examples and gain, as Markdown tables.

Made-up answers, no model: of every language's examples 20 % are answered otherwise under a setting, as many rightly as
wrongly but for the gain.  Six settings, whose changes are correlated; the best has the whole gain, the others 3/4, 1/2,
1/4, none, and a loss of 1/2.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from eval.decision_rule import Parts, Ruling, rule
from eval.statistics import Array

CHANGED = 0.2
LANGUAGES = 11
SHAPE = np.array([1, 0.75, 0.5, 0.25, 0, -0.5])


@dataclass(frozen=True)
class World:
    """What is true.

    Attributes:
        gain: of the best setting, in points, in each of the languages that gain.
        gaining: the number of these.
        settings, languages: correlation of what changes, between settings and between languages.
    """

    examples: int
    gain: float = 0.0
    gaining: int = LANGUAGES
    settings: float = 0.8
    languages: float = 0.0

    @property
    def true_gains(self) -> Array:
        """In points, `[languages, settings]`."""
        return np.where(np.arange(LANGUAGES) < self.gaining, self.gain, 0.0)[:, None] * SHAPE

    def ruling(self, generator: np.random.Generator) -> Ruling:
        """Of one `tune`."""
        shape, (among, across) = (LANGUAGES, len(SHAPE), self.examples), (self.settings, self.languages)
        shared = across**0.5 * generator.standard_normal((1, 1, self.examples))
        shared = shared + (1 - across) ** 0.5 * generator.standard_normal((LANGUAGES, 1, self.examples))
        drawn = among**0.5 * shared + (1 - among) ** 0.5 * generator.standard_normal(shape)
        better, worse = ((CHANGED + sign * self.true_gains / 100) / 2 for sign in (1, -1))
        gains = (drawn > norm.isf(better)[:, :, None]).astype(float) - (drawn < norm.ppf(worse)[:, :, None])
        weights = np.ones((LANGUAGES, self.examples))
        return rule(gains, weights, range(len(SHAPE)), Parts.of(range(self.examples)))


@dataclass(frozen=True)
class Found:
    """Means over runs: of runs that steer anything, of languages that gain and of others that are steered, and the true
    gain that is in force, in points, over the languages that can gain."""

    anything: float
    steered: float
    others: float
    gain: float


def simulate(world: World, runs: int, seed: int = 0) -> Found:
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(runs):
        in_force = world.ruling(generator).in_force
        steered = np.array([setting is not None for setting in in_force])
        gains = [world.true_gains[row, each] for row, each in enumerate(in_force) if each is not None]
        can = max(1, world.gaining)
        others = steered[world.gaining :].any() if world.gaining < LANGUAGES else False
        found.append((steered.any(), steered[: world.gaining].sum() / can, others, sum(gains) / can))
    return Found(*np.mean(np.array(found, dtype=float), axis=0).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decision_power", description=__doc__)
    parser.add_argument("--runs", type=int, default=400, help="of each cell (default: %(default)s)")
    runs = parser.parse_args().runs
    print("\n| no effect: correlation between settings | between languages | steers anything |\n|---|---|---:|")
    for settings in (0.8, 0.0):
        for languages in (0.0, 0.5):
            world = World(100, settings=settings, languages=languages)
            found = simulate(world, 5 * runs)
            print(f"| {settings:g} | {languages:g} | {found.anything:.1%} |", flush=True)
    print(
        "\n| examples | gain of the best setting | all 11 gain: steered | mean gain | 6 of 11 gain: steered | others "
        "too | 1 of 11 gains: steered | others too |\n" + "|---:" * 8 + "|"
    )
    for examples in (50, 200, 1000):
        for gain in (1.0, 2.0, 4.0):
            every, most, one = (simulate(World(examples, gain, gaining), runs) for gaining in (LANGUAGES, 6, 1))
            print(
                f"| {examples} | {gain:g} | {every.steered:.0%} | {every.gain:+.1f} | {most.steered:.0%} | "
                f"{most.others:.0%} | {one.steered:.0%} | {one.others:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
