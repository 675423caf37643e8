"""Two lists of classes, joined by their names."""

from centernet2.data import DetectionDataset, join_classes, shown, without_classes
from centernet2.data.readers.coco import load_coco
from tests.helpers.data import Write, make_content


def test_classes_are_joined_by_name() -> None:
    join = join_classes(("bee", "cat", "ant"), ("ant", "dog", "bee"))
    assert join.labels.tolist() == [2, -1, 0]
    assert join.missing == ("dog",) and join.added == ("cat",)


def test_long_lists_are_shortened() -> None:
    assert shown(("a", "b")) == "a, b"
    assert shown(tuple("abcdefg")) == "a, b, c, d, e and 2 more"


def load(write: Write, frequency: str = "") -> DetectionDataset:
    content = make_content()
    for category in content["categories"]:
        category |= {"frequency": frequency} if frequency else {}
    for image in content["images"]:
        image |= {"neg_category_ids": [3, 7], "not_exhaustive_category_ids": [3]}
    path = write(content)
    return load_coco(path, path.parent, name="t")


def test_classes_are_left_out_with_their_objects(write: Write) -> None:
    dataset = load(write, "r")
    rest = without_classes(dataset, ("ant",))
    assert rest.class_names == ("zebra",) and rest.category_ids == (7,)
    assert rest.frequencies == ("r",) and len(rest) == len(dataset) == 3
    assert rest.xywh.tolist() == [[4, 6, 20, 10]] and rest.labels.tolist() == [0]
    image = [dataset.image_id(i) for i in range(3)].index(30)
    assert rest.offsets.tolist() == [int(i > image) for i in range(4)]
    assert rest.federated is not None
    assert rest.federated.negative_labels(0) == [0]
    assert rest.federated.not_exhaustive_labels(0) == []
