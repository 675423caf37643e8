"""A Ray actor, without PyTorch, that counts how often workers begin each shard."""

from collections import Counter


class Attempts:
    """Counts the beginnings of shards.

    An engine gives a shard to another worker whenever one ends; the count limits how many workers
    an image can end.
    """

    def __init__(self) -> None:
        self._begun: Counter[tuple[str, int]] = Counter()

    def begin(self, shard: tuple[str, int]) -> int:
        """Count an attempt at a shard (first image, length); return their number."""
        self._begun[shard] += 1
        return self._begun[shard]
