"""Pascal VOC data as many tools write it: read, repaired with a count, or refused by file."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from centernet2.data.readers.layouts import SplitRecords
from tests.helpers.data import read_content
from tests.helpers.split_records import boxes, counts, read

WIDTH, HEIGHT = 40, 20
BOXES = [("cat", [4, 3, 10, 8])]
BOX = "<xmin>4</xmin><ymin>3</ymin><xmax>14</xmax><ymax>11</ymax>"
POLYGON = "<polygon><pt><x>4</x><y>3</y></pt><pt><x>14</x><y>11</y></pt></polygon>"
OBJECT = f"<object><name>cat</name><difficult>0</difficult><bndbox>{BOX}</bndbox></object>"


def bndbox(text: str) -> str:
    """Return the object with other boxes."""
    return OBJECT.replace(f"<bndbox>{BOX}</bndbox>", text)


def picture(path: Path, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (WIDTH, HEIGHT)).save(path, exif=exif)


def xml(
    file: str = "a.png", objects: str = OBJECT, *, size: Sequence[object] = (WIDTH, HEIGHT)
) -> str:
    width, height = size
    return (
        f"<annotation><filename>{file}</filename><size><width>{width}</width>"
        f"<height>{height}</height></size>{objects}</annotation>"
    )


def tree(root: Path, text: str | bytes | None = None, *, name: str = "a") -> Path:
    """A data set of one image in one split."""
    picture(root / "JPEGImages" / f"{name}.png")
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    content = xml(f"{name}.png") if text is None else text
    content = content.encode() if isinstance(content, str) else content
    (root / "Annotations" / f"{name}.xml").write_bytes(content)
    (root / "ImageSets" / "Main" / "train.txt").write_text(f"{name}\n", encoding="utf-8")
    return root


def files(records: SplitRecords) -> list[str]:
    return [each["file_name"] for each in records.content["images"]]


def size(records: SplitRecords) -> tuple[float, float]:
    (image,) = records.content["images"]
    return image["width"], image["height"]


@pytest.mark.parametrize(("lines", "expected"), [
    ("my photo 1\nb\nmy photo\n", ["my photo 1", "b", "my photo"]),
    ("my photo 1  1\nb -1\nmy photo  0\n", ["my photo 1", "my photo"]),
    ("my photo 1\nb\n", ["my photo 1", "b"]),
    ("JPEGImages/b.png\n.\\my photo.PNG\n\n", ["b", "my photo"]),
    ("\ufeffb.xml\r\nmy photo 1.png\r\n", ["b", "my photo 1"]),
    ("b 1\nb -1\n", ["b"]),
])  # fmt: skip
def test_names_in_lists(tmp_path: Path, lines: str, expected: Sequence[str]) -> None:
    for name in ("b", "my photo", "my photo 1"):
        tree(tmp_path, name=name)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(lines, encoding="utf-8")
    assert files(read(tmp_path)) == [f"{name}.png" for name in expected]


def test_listed_image_without_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\nc 1\n")
    with pytest.raises(ValueError, match=r"train\.txt, line 2: lists the image c 1, but .*exist"):
        read(tmp_path)


@pytest.mark.parametrize("encoding", ["GBK", "gb2312", "Shift_JIS", "utf-16", "UTF-8", "Big5"])
def test_declared_encodings(tmp_path: Path, encoding: str) -> None:
    name = "汽車" if encoding in ("Big5", "Shift_JIS") else "红色"
    text = xml(objects=OBJECT.replace("cat", name))
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n{text}'
    assert boxes(read(tree(tmp_path, text.encode(encoding)))) == [(name, BOXES[0][1])]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("", "utf-8-sig"), ("GBK", "utf-8"), ("ISO-8859-1", "utf-8"), ("no-such", "utf-8")],
)
def test_wrong_declarations_of_utf_8_do_not_count(
    tmp_path: Path, declared: str, encoding: str
) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    text = head + xml(objects=OBJECT.replace("cat", "红色 Bär"))
    assert boxes(read(tree(tmp_path, text.encode(encoding))))[0][0] == "红色 Bär"


def test_legacy_encoding_without_declaration_is_named(tmp_path: Path) -> None:
    text = xml(objects=OBJECT.replace("cat", "红色"))
    for head in ("", '<?xml version="1.0" encoding="UTF-8"?>'):
        with pytest.raises(ValueError, match=r"a\.xml, line 1: .*iconv -f GBK"):
            read(tree(tmp_path, (head + text).encode("gbk")))


def test_declared_encoding_of_half_characters_is_refused(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="unicode_escape"?><annotation>\\ud800 \xe9</annotation>'
    with pytest.raises(ValueError, match=r"a\.xml: not an XML file \(.*surrogates not allowed"):
        read(tree(tmp_path, text.encode("latin-1")))


@pytest.mark.parametrize("text", [
    *(xml(size=each) for each in [("abc", 20), (0, 0), ("", ""), ("nan", 20), (-40, 20)]),
    xml().replace("<width>", "<width>50</width><width>"),
])  # fmt: skip
def test_damaged_sizes_are_those_of_the_image(tmp_path: Path, text: str) -> None:
    records = read(tree(tmp_path, text))
    assert size(records) == (WIDTH, HEIGHT) and boxes(records) == BOXES
    assert counts(records) == {"image sizes that are missing or damaged in the XML": 1}


def test_exchanged_sizes_are_repaired_unless_exif_turns_the_image(tmp_path: Path) -> None:
    records = read(tree(tmp_path, xml(size=(HEIGHT, WIDTH))))
    assert size(records) == (WIDTH, HEIGHT)
    assert counts(records) == {"image sizes whose width and height are exchanged": 1}
    tree(tmp_path, xml("a.jpg", size=(WIDTH, HEIGHT)))
    picture(tmp_path / "JPEGImages" / "a.jpg", orientation=6)
    (tmp_path / "JPEGImages" / "a.png").unlink()
    assert size(read(tmp_path)) == (WIDTH, HEIGHT)  # the check of the images reports it


def test_numbers_of_any_form(tmp_path: Path) -> None:
    text = BOX.replace(">4<", "> 4.25 <").replace(">14<", ">1.425e1<")
    records = read(tree(tmp_path, xml(objects=OBJECT.replace(BOX, text), size=(40.0, "20.0"))))
    assert boxes(records) == [("cat", [4.25, 3, 10, 8])] and counts(records) == {}


@pytest.mark.parametrize(("text", "message"), [
    (xml(objects=OBJECT.replace(">4<", ">x4<")), r", object 1 \(cat\): the <xmin> .* 'x4', not"),
    (xml(objects=OBJECT.replace("<ymax>11</ymax>", "")), ": the <ymax> .* is missing"),
    (xml(objects=OBJECT.replace(">3<", ">2,5<")), ": the <ymin> of its bndbox is '2,5'"),
    (xml(objects=OBJECT.replace(">3<", ">nan<")), ": the <ymin> of its bndbox is 'nan'"),
    (xml(objects=OBJECT + "<object><bndbox/></object>"), ": object 2 has no 'name'"),
    (
        xml(objects=OBJECT.replace("<xmin>", "<xmin>6</xmin><xmin>")),
        r", object 1 \(cat\): the <xmin> of its <bndbox> occurs twice, as '6' and '4'",
    ),
    (
        xml(objects=OBJECT.replace("<name>", "<name>dog</name><name>")),
        ", object 1: the <name> of its <object> occurs twice, as 'dog' and 'cat'",
    ),
    (
        xml(objects=OBJECT.replace("<difficult>", "<difficult>1</difficult><difficult>")),
        "the <difficult> of its <object> occurs twice",
    ),
    (
        xml(objects=OBJECT).replace("<filename>", "<filename>b.png</filename><filename>"),
        ": the <filename> of its <annotation> occurs twice, as 'b.png' and 'a.png'",
    ),
    (xml(objects=OBJECT.replace(">0<", ">2<")), ": its <difficult> is '2'; write 0 or 1"),
    (xml(objects=OBJECT.replace(">0<", ">perhaps<")), "its <difficult> is 'perhaps'"),
    (
        xml(objects=OBJECT.replace("</bndbox>", "<angle>0.5</angle></bndbox>")),
        "its box has an <angle> of 0.5, which is not read",
    ),
    (
        xml(objects=OBJECT.replace("</bndbox>", "</bndbox><rotation>30</rotation>")),
        "its box has a <rotation> of 30, which is not read",
    ),
    (
        xml(
            objects="<object><name>cat</name><robndbox><cx>9</cx><cy>7</cy><w>8</w><h>10</h>"
            "<angle>90</angle></robndbox></object>"
        ),
        "the <angle> of its robndbox is 90, more than a full turn in radians",
    ),
    (xml(objects="<object><name>cat</name></object>"), "no bndbox"),
    ("<annotation>", ": not an XML file"),
    ("", ": not an XML file .it is empty"),
    ("<annotations><image/></annotations>", ": the root element is <annotations>, not"),
])  # fmt: skip
def test_damaged_files_are_refused_with_an_element(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.xml.*{message}"):
        read(tree(tmp_path, text))


def test_other_xml_files_are_counted(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "Annotations" / "all.xml").write_text("<annotations><image/></annotations>")
    (tmp_path / "Annotations" / "._a.xml").write_text("resource fork")
    records = read(tmp_path)
    assert counts(records) == {"XML files that are no annotation of an image": 1}
    assert boxes(records) == BOXES


def test_folder_in_place_of_an_xml_file_is_named(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "Annotations" / "b.xml").mkdir()
    with pytest.raises(ValueError, match=r"b\.xml: is a folder, where a file is needed"):
        read(tmp_path)


@pytest.mark.parametrize(("objects", "kind"), [
    (OBJECT.replace(">4<", ">0<").replace(">14<", ">4<").replace(">0<", ">14<", 2)
     .replace("difficult>14<", "difficult>0<"),
     "boxes whose corners are exchanged"),
    (bndbox("<polygon><x1>4</x1><y1>3</y1><x2>14</x2><y2>11</y2></polygon>"),
     "objects with a polygon or a rotated box alone"),
    (bndbox(POLYGON), "objects with a polygon or a rotated box alone"),
    (bndbox("<robndbox><cx>9</cx><cy>7</cy><w>8</w><h>10</h>"
            "<angle>1.570796</angle></robndbox>"),
     "objects with a polygon or a rotated box alone"),
])  # fmt: skip
def test_other_forms_of_boxes(tmp_path: Path, objects: str, kind: str) -> None:
    records = read(tree(tmp_path, xml(objects=objects)))
    assert boxes(records) == BOXES and counts(records) == {kind: 1}


def test_polygons_do_not_count_from_one(tmp_path: Path) -> None:
    """VOC has none: other tools write them into its files."""
    source = "<source><database>The VOC2007 Database</database></source>"
    text = xml(objects=OBJECT + bndbox(POLYGON)).replace("<size>", f"{source}<size>")
    found = boxes(read(tree(tmp_path, text)))
    assert found == [("cat", [3, 2, 11, 9]), ("cat", [4, 3, 10, 8])]


def test_polygons_of_parts_are_not_those_of_the_object(tmp_path: Path) -> None:
    part = f"<part><name>head</name>{POLYGON.replace('>14<', '>34<')}</part>"
    text = xml(objects=bndbox(POLYGON + part))
    assert boxes(read(tree(tmp_path, text))) == BOXES


def test_every_box_of_an_object_is_read(tmp_path: Path) -> None:
    two = f"<bndbox>{BOX}</bndbox><bndbox>{BOX.replace('>4<', '>2<')}</bndbox>"
    part = f"<part><name>head</name><bndbox>{BOX}</bndbox></part>"
    records = read(tree(tmp_path, xml(objects=bndbox(two + part))))
    assert boxes(records) == [*BOXES, ("cat", [2, 3, 12, 8])]
    assert counts(records) == {"objects with several boxes": 1}
    deleted = OBJECT.replace("</object>", "<deleted>1</deleted></object>")
    records = read(tree(tmp_path, xml(objects=OBJECT + deleted)))
    assert boxes(records) == BOXES
    assert counts(records) == {"objects that are marked as deleted": 1}
    assert records.findings[0].examples[0].text.endswith("a.xml, object 2")


def test_equal_elements_that_occur_twice_are_one(tmp_path: Path) -> None:
    twice = OBJECT.replace("<xmin>", "<xmin>4</xmin><xmin>").replace("<n", "<name>cat</name><n")
    records = read(tree(tmp_path, xml(objects=twice)))
    assert boxes(records) == BOXES and counts(records) == {}


@pytest.mark.parametrize(("degrees", "box"), [
    (0, [4, 3, 10, 8]), (90, [5, 2, 8, 10]), (-270, [5, 2, 8, 10]), (180, [4, 3, 10, 8]),
    (45, [2.636, 0.636, 12.728, 12.728]),
])  # fmt: skip
def test_rotation_of_cvat_widens_the_box(tmp_path: Path, degrees: int, box: list[float]) -> None:
    rotation = f"<attribute><name>rotation</name><value>{degrees}.0</value></attribute>"
    item = OBJECT.replace("</object>", f"<attributes>{rotation}</attributes></object>")
    records = read(tree(tmp_path, xml(objects=item)))
    assert boxes(records) == [("cat", box)]
    expected = {"boxes that are rotated by an attribute": 1} if degrees % 180 else {}
    assert counts(records) == expected


@pytest.mark.parametrize(("text", "crowd"), [
    ("1", 1), (" true ", 1), ("Yes", 1), ("no", 0), ("Unspecified", 0), ("", 0), ("0", 0),
    ("False", 0),
])  # fmt: skip
def test_difficult_objects(tmp_path: Path, text: str, crowd: int) -> None:
    difficult = OBJECT.replace(">0</difficult>", f">{text}</difficult>").replace("cat", " cat\n")
    records = read(tree(tmp_path, xml(objects=difficult)))
    assert records.content["annotations"][0]["iscrowd"] == crowd and boxes(records) == BOXES


@pytest.mark.parametrize("stated", ["a.jpg", "C:\\x\\a.PNG", "", "a", "/data/a.png", "other.jpg"])
def test_image_is_found_whatever_the_file_name_says(tmp_path: Path, stated: str) -> None:
    assert files(read(tree(tmp_path, xml(stated)))) == ["a.png"]


def test_file_name_of_another_image_is_repaired(tmp_path: Path) -> None:
    tree(tmp_path, name="b")
    records = read(tree(tmp_path, xml("b.png")))
    assert files(records) == ["a.png"]
    assert counts(records) == {"file names in the XML that are another image's": 1}


def test_voc_boxes_in_shares_are_refused(tmp_path: Path) -> None:
    item = OBJECT
    for pixels, share in ((4, 0.1), (3, 0.15), (14, 0.35), (11, 0.55)):
        item = item.replace(f">{pixels}<", f">{share}<")
    content = read(tree(tmp_path, xml(objects=item * 2))).content
    refused = [each for each in read_content(content).dataset.findings if each.action == "refuses"]
    assert [each.kind for each in refused] == ["shares of the image in place of pixels"]
    assert refused[0].examples[0].text.startswith("annotation 1 in a.png has bbox [0.1")


def by_folders(root: Path) -> None:
    for split in ("train", "valid"):
        picture(root / "Images" / split / "a.png")
        (root / "annotations" / split).mkdir(parents=True)
        (root / "annotations" / split / "a.xml").write_text(xml())


def by_splits(root: Path) -> None:
    for split in ("Train", "Val"):
        picture(root / split / "images" / "a.png")
        (root / split / "Annotations").mkdir(parents=True)
        (root / split / "Annotations" / "a.xml").write_text(xml())


def lists_beside(root: Path) -> None:
    tree(root)
    (root / "ImageSets" / "Main" / "train.txt").unlink()
    for split in ("trainval", "valid"):
        (root / f"{split}.txt").write_text("a\n")


def capitals(root: Path) -> None:
    lists_beside(root)
    (root / "Annotations" / "a.xml").rename(root / "Annotations" / "a.XML")


@pytest.mark.parametrize("layout", [by_folders, by_splits, lists_beside, capitals])
def test_folders_are_found(tmp_path: Path, layout: Callable[[Path], None]) -> None:
    layout(tmp_path)
    for split in ("train", "val"):
        records = read(tmp_path, split)
        assert boxes(records) == BOXES and counts(records) == {}
        assert (records.folder / files(records)[0]).is_file()


def in_folders(root: Path, *, flat: bool = False) -> Path:
    """A data set whose images, and XML files unless `flat`, are in folders by camera."""
    for camera, name in (("left", "cat"), ("right", "dog")):
        stem = camera if flat else "1"
        picture(root / "JPEGImages" / camera / f"{stem}.png")
        path = root / "Annotations" / ("" if flat else camera) / f"{stem}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml(f"{stem}.png", OBJECT.replace("cat", name)))
    return root


@pytest.mark.parametrize("flat", [False, True])
def test_images_in_folders_are_found(tmp_path: Path, flat: bool) -> None:
    records = read(in_folders(tmp_path, flat=flat))
    stems = ("left/left", "right/right") if flat else ("left/1", "right/1")
    assert files(records) == [f"{stem}.png" for stem in stems] and counts(records) == {}
    assert [name for name, _ in boxes(records)] == ["cat", "dog"]
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_text(f"{stems[1]}\n")
    assert files(read(tmp_path)) == [f"{stems[1]}.png"]


def test_stated_image_is_in_the_folder_of_its_xml_file(tmp_path: Path) -> None:
    root = in_folders(tmp_path)
    for camera, name in (("left", "cat"), ("right", "dog")):
        (root / "JPEGImages" / camera / "1.png").rename(root / "JPEGImages" / camera / "f7.png")
        (root / "Annotations" / camera / "1.xml").write_text(
            xml("f7.png", OBJECT.replace("cat", name))
        )
    records = read(root)
    assert files(records) == ["left/f7.png", "right/f7.png"]
    assert [name for name, _ in boxes(records)] == ["cat", "dog"]


def test_images_of_other_folders_are_not_taken(tmp_path: Path) -> None:
    root = in_folders(tmp_path)
    (root / "JPEGImages" / "right" / "1.png").unlink()
    records = read(root)
    assert files(records) == ["left/1.png", "1.png"]
    root = in_folders(tmp_path / "flat", flat=True)
    picture(root / "JPEGImages" / "right" / "left.png")  # one of two of its name
    assert files(read(root)) == ["left.png", "right/right.png"]
    (root / "ImageSets").mkdir()
    in_folders(root)
    (root / "Annotations" / "left.xml").unlink()
    (root / "Annotations" / "right.xml").unlink()
    (root / "ImageSets" / "train.txt").write_text("1\n")
    with pytest.raises(ValueError, match=r"train\.txt, line 1: lists the image 1, but"):
        read(root)


@pytest.mark.parametrize("layout", [by_folders, by_splits])
def test_one_of_two_folders_of_a_split_is_not_chosen(
    tmp_path: Path, layout: Callable[[Path], None]
) -> None:
    layout(tmp_path)
    parent = tmp_path / "annotations" if layout is by_folders else tmp_path
    name = "train" if layout is by_folders else "Train"
    shutil.copytree(parent / name, parent / "training")
    with pytest.raises(ValueError, match=r"rain and .*training are both the train split; join"):
        read(tmp_path)


def test_one_of_several_data_sets_is_not_chosen(tmp_path: Path) -> None:
    tree(tmp_path / "VOCdevkit" / "VOC2007")
    assert boxes(read(tmp_path)) == BOXES
    (tmp_path / "VOCdevkit" / "VOC2012.tar").write_bytes(b"")
    assert boxes(read(tmp_path)) == BOXES
    tree(tmp_path / "VOCdevkit" / "VOC2012")
    with pytest.raises(ValueError, match=r"several .*VOC2007, .*VOC2012; give one of them"):
        read(tmp_path)
    tree(tmp_path / "other" / "mine")
    assert boxes(read(tmp_path / "other")) == BOXES


def test_images_are_read_once(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nb\na\na.png\n")
    for name in ("b", "b (1)"):
        (root / "Annotations" / f"{name}.xml").write_text(xml("b.png"))
    picture(root / "JPEGImages" / "b.png")
    records = read(root)
    assert files(records) == ["a.png", "b.png"]
    assert {each.kind: each.total for each in records.findings} == {"images listed twice": 2}
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nb (1)\nb\n")
    records = read(root)
    assert files(records) == ["a.png", "b.png"]
    (finding,) = records.findings
    assert "b (1).xml" in finding.examples[0].text
    assert finding.kind == "XML files of an image that has another one"


def test_elements_of_any_case_and_namespace_are_found(tmp_path: Path) -> None:
    spaced = xml().replace("<annotation>", '<annotation xmlns="http://a.example">')
    for text in (spaced, xml().replace("object>", "OBJECT>").replace("annotation>", "Annotation>")):
        assert boxes(read(tree(tmp_path, text))) == BOXES


def test_splits_without_images_or_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split 'train' has 1 images, but none of their XML"):
        read(tree(tmp_path, xml(objects="")))
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"train\.txt: there is no image in the list"):
        read(tmp_path)
