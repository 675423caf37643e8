"""The choice of images whose uncertain objects tell a detector most."""

import numpy as np
import pytest

from centernet2.predict import image_choice
from centernet2.predict.image_choice import UncertainObjects, choose_images, uncertain_objects
from centernet2.predict.prediction import Prediction


def prediction(
    boxes: list[list[float]],
    objectness: list[float],
    class_probability: list[float],
    labels: list[int] | None = None,
) -> Prediction:
    count = len(boxes)
    columns = {
        "objectness": np.array(objectness, np.float32),
        "class_probability": np.array(class_probability, np.float32),
        "embeddings": np.eye(count, 3, dtype=np.float32),
    }
    scores = np.sqrt(columns["objectness"] * columns["class_probability"])
    return Prediction(
        np.array(boxes, np.float32).reshape(-1, 4), scores,
        np.array(labels or [0] * count, np.int64), (100, 100), class_names=("cat", "dog"),
        columns=columns,
    )  # fmt: skip


def test_objects_of_unclear_class_and_near_the_threshold_are_uncertain() -> None:
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    seen = uncertain_objects(prediction(boxes, [1.0, 0.9, 0.3], [1.0, 0.4, 0.3]), 0.3)
    assert seen.what.tolist() == pytest.approx([0.21, 0.54, 0.0], abs=1e-6)
    assert seen.whether.tolist() == pytest.approx([1.0, 0.4 / 0.7, 0.0], abs=1e-6)
    assert seen.weights.tolist() == np.maximum(seen.what, seen.whether).tolist()
    assert seen.features.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_threshold_of_each_class_is_its_own() -> None:
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10]]
    seen = uncertain_objects(prediction(boxes, [0.25, 0.25], [1.0, 1.0], [0, 1]), (0.5, 0.9))
    assert seen.names == ["cat", "dog"]
    assert seen.whether.tolist() == pytest.approx([1.0, 0.5 / 0.9])


def test_detections_of_one_object_are_one() -> None:
    boxes = [[0.0, 0, 10, 10], [1, 0, 11, 10]]
    seen = uncertain_objects(prediction(boxes, [0.9, 0.9], [0.5, 0.4], [0, 1]), 0.3)
    assert seen.names == ["cat"]


def test_image_without_detections_has_no_objects() -> None:
    seen = uncertain_objects(prediction([], [], []), 0.3)
    assert seen.weights.shape == (0,) and seen.names == []


def objects(
    weights: list[float], features: list[list[float]], *, what: bool = True, name: str = "cat"
) -> UncertainObjects:
    own = np.array(weights, dtype=np.float64)
    nothing = np.zeros_like(own)
    return UncertainObjects(
        own if what else nothing,
        nothing if what else own,
        np.array(features, np.float32).reshape(-1, 2),
        [name] * len(weights),
    )


def test_chosen_images_cover_different_objects() -> None:
    left, right = [1.0, 0.0], [-1.0, 0.0]
    images = [
        objects([0.9, 0.9, 0.9], [left, left, left]),
        objects([0.9, 0.9], [left, left]),
        objects([0.6], [right], what=False),
        objects([], []),
    ]
    first, second, *rest = choose_images(images, 10)
    assert first.image in (0, 1) and first.reason.endswith("of unclear class, such as cat")
    assert second.image == 2
    assert second.reason == "1 object near the threshold, such as cat, unlike those before"
    assert {each.image for each in rest} == {0, 1, 3} - {first.image}
    assert first.gain > second.gain > rest[0].gain == pytest.approx(0, abs=1e-6)
    assert rest[-1].reason in ("nothing is seen", "3 objects of unclear class, such as cat")


def test_rare_class_counts_as_much_as_a_frequent_one() -> None:
    """Cats are more, and more uncertain, and each of them is like no other one."""
    angles = np.linspace(0, 1, 20)
    cats = [objects([0.9], [[np.cos(a), np.sin(a)]]) for a in angles]
    dogs = [objects([0.6, 0.6], [[-1.0, -1.0]] * 2, name="dog")]
    first = next(choose_images([*cats, *dogs], 1))
    assert first.image == len(cats) and first.gain == pytest.approx(0.5)
    dog = [objects([0.05], [[-1.0, -1.0]], name="dog")]  # which may be seen by mistake
    assert next(choose_images([*cats, *dog], 1)).image < len(cats)


def test_each_class_has_its_share_of_the_objects_that_are_covered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where there are more of each than can be covered, and the frequent ones are surer."""
    monkeypatch.setattr(image_choice, "COVERED_OBJECTS", 10)
    cats = [objects([0.5], [[1.0, 0.0]]) for _ in range(100)]
    dogs = [objects([0.9], [[-1.0, 0.0]], name="dog") for _ in range(20)]
    first, second = choose_images([*cats, *dogs], 2)
    assert {first.image < 100, second.image < 100} == {True, False}
    assert second.gain == pytest.approx(0.5, abs=0.01)


def test_reason_names_the_class_that_counts() -> None:
    mixed = UncertainObjects(
        np.array([0.9, 0.9, 0.9]), np.zeros(3), np.eye(3, 2, dtype=np.float32),
        ["cat", "cat", "dog"],
    )  # fmt: skip
    chosen = next(choose_images([mixed, objects([0.9] * 4, [[1.0, 0.0]] * 4)], 1))
    assert chosen.reason == "3 objects of unclear class, such as dog"


def test_choice_has_the_wanted_length() -> None:
    images = [objects([0.5], [[float(i), 1.0]]) for i in range(5)]
    assert len({each.image for each in choose_images(images, 3)}) == 3


@pytest.mark.filterwarnings("error")
def test_pool_without_any_object() -> None:
    images = [objects([], []), objects([], [])]
    chosen = list(choose_images(images, 2))
    assert [each.reason for each in chosen] == ["nothing is seen"] * 2
