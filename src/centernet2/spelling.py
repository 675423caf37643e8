"""Words of users and messages: lists, known words that were meant, counted nouns."""

from collections.abc import Iterable, Sequence

SHOWN_WORDS = 3


def meant_words(word: str, known: Iterable[str]) -> list[str]:
    """Return the known words that are spelled like this one, or that contain it."""
    import difflib  # for messages alone

    lower = {each.lower(): each for each in known}
    wanted = word.lower()
    close = difflib.get_close_matches(wanted, lower, n=1)
    if not close and wanted:
        close = sorted((each for each in lower if wanted in each), key=len)[:SHOWN_WORDS]
    return [lower[each] for each in close]


def split_names(words: Sequence[str] | str, known: Sequence[str] = ()) -> list[str]:
    """Split names at commas, except known ones that have a comma themselves."""
    return [
        name.strip()
        for word in ([words] if isinstance(words, str) else words)
        for name in ([word] if word in known else str(word).split(","))
        if name.strip()
    ]


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: 1 image, 2 images, 3 classes."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest known words, as the end of an error message; empty if none is near."""
    found = " or ".join(f"'{each}'" for each in meant_words(word, known))
    return f"; did you mean {found}?" if found else ""
