"""How often the workers of a cluster have begun a shard; an actor of its own, without PyTorch."""

from collections import Counter


class Attempts:
    """Counts the beginnings of shards.

    An engine gives a shard to another worker whenever one ends; the count limits how many workers
    an image can end.
    """

    def __init__(self) -> None:
        self._begun: Counter[tuple[str, int]] = Counter()

    def begin(self, shard: tuple[str, int]) -> int:
        """Count a shard, which its first image and its length identify; return its attempts."""
        self._begun[shard] += 1
        return self._begun[shard]
