"""Words of users and of messages."""

from centernet2.spelling import split_names


def test_names_are_split_at_commas_that_are_not_their_own() -> None:
    assert split_names(["cat, dog", "bird"]) == ["cat", "dog", "bird"]
    assert split_names("cat,,dog,") == ["cat", "dog"]
    assert split_names(["bow, tied", "cat"], ["cat", "bow, tied"]) == ["bow, tied", "cat"]
