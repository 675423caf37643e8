"""Classes of data sets: joined by name, renamed, merged and left out."""

import pytest

from centernet2.data import (
    DetectionDataset,
    concatenate,
    join_classes,
    rename_categories,
    rename_classes,
    shown,
    without_classes,
)
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


def test_classes_exchange_their_names(write: Write) -> None:
    dataset = load(write, "r")
    assert dataset.class_names == ("ant", "zebra")
    changed = rename_classes(dataset, {"ant": "zebra", "zebra": "ant"})
    assert changed.class_names == ("zebra", "ant") and changed.category_ids == (3, 7)
    assert changed.labels.tolist() == dataset.labels.tolist()
    chained = rename_classes(dataset, {"ant": "zebra", "zebra": "horse", "lost": "ant"})
    assert chained.class_names == ("zebra", "horse")
    assert rename_classes(dataset, {"lost": "ant"}) is dataset
    with pytest.raises(ValueError, match="as LVIS does, so its classes cannot be merged"):
        rename_classes(dataset, {"ant": "zebra"})


def test_classes_with_one_name_are_merged(write: Write) -> None:
    dataset = load_coco(write(make_content()), write(make_content()).parent, name="t")
    one = rename_classes(dataset, {"ant": "animal", "zebra": "animal"})
    assert one.class_names == ("animal",) and one.category_ids == (3,)
    assert one.labels.tolist() == [0] * len(dataset.labels)
    other = rename_classes(dataset, {"ant": "zebra"})
    assert other.class_names == ("zebra",) and other.category_ids == (7,)
    assert concatenate([one, one]).renamed == one.renamed * 2


@pytest.mark.parametrize("class_map", [{"ant": "bee", "zebra": "bee"}, {"zebra": "ant"}, {}])
def test_records_are_renamed_like_data_sets(write: Write, class_map: dict[str, str]) -> None:
    content = make_content()
    path = write(content)
    changed = rename_classes(load_coco(path, path.parent, name="t"), class_map)
    records = load_coco(write(rename_categories(content, class_map)), path.parent, name="t")
    assert records.class_names == changed.class_names
    assert records.labels.tolist() == changed.labels.tolist()


def test_damaged_records_keep_their_damage() -> None:
    content = {
        "categories": [{"id": 1, "name": "a"}, 3, {"name": [5]}, {"id": 4, "name": " b"}],
        "annotations": [{"category_id": 4}, None, {}],
    }
    assert rename_categories(content, {"b": "a"}) == {
        "categories": [{"id": 1, "name": "a"}, 3, {"name": [5]}],
        "annotations": [{"category_id": 1}, None, {}],
    }
    assert rename_categories({"categories": None}, {"b": "a"}) == {"categories": None}
