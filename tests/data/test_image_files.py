"""Files of images as people have them: what is read of each, what is left out and said, what is refused."""

import unicodedata

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from transformers import ViTImageProcessorPil
from transformers.image_utils import load_image

from seqnlp.data import DataError, ImageArguments, ProcessedImages, load_images
from seqnlp.data.loaded import fingerprint
from seqnlp.data.samples import divide_evenly


CORNERS = np.array(
    [[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 0]]], dtype=np.uint8
)  # red, green, blue, yellow


def load(folder, **fields):
    return load_images(ImageArguments(dataset_name=str(folder), **fields))


def picture(side=4):
    """Four squares of one color each."""
    return Image.fromarray(CORNERS.repeat(side, 0).repeat(side, 1))


def plain(color="black"):
    return Image.new("RGB", (8, 8), color)


@pytest.fixture
def folder(tmp_path):
    """Makes a folder with the images of the classes `a` and `b`, by split."""

    def make(train, test=None):
        for split, classes in {"train": train, "test": test or {}}.items():
            for name, images in classes.items():
                (tmp_path / "pets" / split / name).mkdir(parents=True)
                for number, image in enumerate(images):
                    image.save(tmp_path / "pets" / split / name / f"{number}.png")
        return tmp_path / "pets"

    return make


@pytest.fixture
def pets(folder):
    return folder({"a": [plain()] * 2, "b": [plain("white")] * 2}, {"a": [plain()], "b": [plain("white")]})


def colors_of(loaded, row=0):
    """The corners of an image of the test split, as a model is given them."""
    processor = ViTImageProcessorPil(size={"height": 8, "width": 8}, do_convert_rgb=True)
    pixels = ProcessedImages(loaded.splits["test"], processor)[row]["pixel_values"]
    return np.round((pixels[:, ::7, ::7].numpy() + 1) * 127.5).astype(int).transpose(1, 2, 0)


@pytest.mark.parametrize(
    ("make", "right"),
    [
        (lambda: picture().quantize(8), CORNERS),
        (lambda: picture().convert("CMYK"), CORNERS),
        (lambda: picture().convert("L").point(lambda gray: 255 * (gray > 60)).convert("1"), [[255, 255], [0, 255]]),
        (lambda: picture().convert("RGBA"), CORNERS),
    ],
    ids=["palette", "CMYK", "1 bit", "opaque alpha"],
)
def test_every_mode_gives_its_colors(pets, make, right):
    make().save(pets / "test" / "a" / "0.png" if make().mode != "CMYK" else pets / "test" / "a" / "0.tiff")
    if make().mode == "CMYK":
        (pets / "test" / "a" / "0.png").unlink()
    loaded = load(pets)
    right = np.asarray(right)
    np.testing.assert_allclose(colors_of(loaded), right if right.ndim == 3 else right[..., None].repeat(3, 2), atol=1)
    assert not [remark for remark in loaded.remarks if "images" in remark and "among" not in remark]


def test_a_photo_is_turned_as_its_camera_says_in_training_and_in_a_pipeline(pets):
    turned, exif = pets / "test" / "a" / "0.jpg", Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    picture().save(turned, exif=exif, quality=100, subsampling=0)
    (pets / "test" / "a" / "0.png").unlink()
    upright = np.rot90(CORNERS, -1)
    np.testing.assert_allclose(colors_of(load(pets)), upright, atol=12)
    np.testing.assert_allclose(np.asarray(load_image(str(turned)))[::7, ::7], upright, atol=12)


def test_of_several_frames_the_first_is_read(pets):
    name = pets / "test" / "a" / "0.gif"
    picture().save(name, save_all=True, append_images=[plain(), plain("white")])
    (pets / "test" / "a" / "0.png").unlink()
    loaded = load(pets)
    np.testing.assert_allclose(colors_of(loaded), CORNERS, atol=1)
    told = f"Dataset '<local:{pets.name}>': images with more than one frame or page, of which the first is read: 1."
    assert told in loaded.remarks


def test_transparency_is_dropped_as_a_pipeline_drops_it(pets):
    name = pets / "test" / "a" / "0.png"
    alpha = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    clear = picture()
    clear.putalpha(alpha)
    clear.save(name)
    loaded = load(pets)
    assert loaded.remarks[0].startswith(
        f"Dataset '<local:{pets.name}>': images that are transparent in part: 1. "
        "The colors below are read, as pipelines do;"
    )
    np.testing.assert_array_equal(colors_of(loaded), CORNERS)
    np.testing.assert_array_equal(np.asarray(load_image(str(name)))[::7, ::7], CORNERS)
    for mode in ("RGBA", "LA"):  # a black drawing on nothing is black all over without its transparency
        drawn = plain()
        drawn.putalpha(alpha)
        drawn.convert(mode).save(name)
        with pytest.raises(DataError, match=r"split 'test': the image a/0.png is drawn by its transparency alone"):
            load(pets)


def test_content_tells_the_kind_of_a_file_not_its_ending(pets):
    name = pets / "test" / "a" / "0.png"
    picture().save(name, format="BMP")
    np.testing.assert_array_equal(colors_of(load(pets)), CORNERS)
    name.write_bytes(b"")
    with pytest.raises(DataError, match=r"the image a/0.png is of no kind that Pillow reads"):
        load(pets)


def test_files_that_are_left_out_are_said_and_hidden_ones_are_not(pets):
    train = pets / "train"
    for hidden in (".DS_Store", "a/._0.png", ".ipynb_checkpoints/0.png", "__MACOSX/a/0.png"):
        (train / hidden).parent.mkdir(parents=True, exist_ok=True)
        (train / hidden).write_bytes(b"\0")
    for name in ("a/photo.heic", "a/no_ending", "b/Thumbs.db", "b/drawing.svg"):
        (train / name).write_bytes(b"\0")
    (train / "b" / "lost.png").symlink_to(train / "b" / "nothing.png")
    (train / "c").mkdir()
    (pets / "README.md").write_text("My pets.")
    loaded = load(pets)
    assert {split: len(part) for split, part in loaded.splits.items()} == {"train": 3, "validation": 1, "test": 2}
    assert loaded.remarks[:2] == [
        "Left out, as no images by their endings, links to nothing, in folders that tell no split, or without a row "
        "of metadata: train/a/no_ending, train/a/photo.heic, train/b/Thumbs.db and 2 more.",
        "Folders without an image: train/c.",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train/9.png", r"not all equally deep in folders \(.*\), so that no folder names a class. Put the images of"),
        ("train/a/more/9.png", "not all equally deep"),
    ],
)
def test_images_beside_the_folders_of_classes_are_refused(pets, name, message):
    (pets / name).parent.mkdir(exist_ok=True)
    plain().save(pets / name)
    with pytest.raises(DataError, match=message) as raised:
        load(pets)
    assert str(pets) not in str(raised.value)


def test_classes_of_another_split_are_matched_by_their_names_not_by_their_numbers(tmp_path):
    shades = {"cat": 10, "dog": 200}
    for split, names in (("train", ["cat", "dog"]), ("test", ["dog", "cat"])):
        labels = [0, 1, 1, 0, 1, 0]
        images = [Image.new("RGB", (8, 8), (shades[names[label]],) * 3) for label in labels]
        features = Features({"image": ImageFeature(), "label": ClassLabel(names=names)})
        Dataset.from_dict({"image": images, "label": labels}, features).to_parquet(tmp_path / f"{split}.parquet")
    for part in load(tmp_path).splits.values():
        assert part.features["label"].names == ["cat", "dog"]
        for row in part:
            assert np.asarray(row["image"]).mean() == shades[part.features["label"].int2str(row["label"])]


def test_labels_of_a_metadata_table_are_as_it_says_and_images_without_a_row_are_said(tmp_path):
    labels = ["01", "1", "NA"] * 4
    for number in range(14):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    rows = [f"{number}.png,{label}\n" for number, label in enumerate(labels)]
    (tmp_path / "metadata.csv").write_text("file_name,label\n" + "".join(rows))
    loaded = load(tmp_path)
    names = loaded.splits["train"].features["label"].names
    assert names == ["01", "1", "NA"]
    found = {row["image"].getpixel((0, 0))[0]: names[row["label"]] for part in loaded.splits.values() for row in part}
    assert found == dict(enumerate(labels))
    assert loaded.remarks[0].endswith("or without a row of metadata: 12.png, 13.png.")


def test_tables_and_folders_that_hold_images_are_not_said_to_be_left_out(tmp_path):
    images = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(20)]
    kinds = Features({"image": ImageFeature(), "label": ClassLabel(names=["a", "b"])})
    rows = Dataset.from_dict({"image": images, "label": [0, 1] * 10}, kinds)
    (tmp_path / "hub" / "data").mkdir(parents=True)
    rows.to_parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet")
    DatasetDict(train=rows).save_to_disk(tmp_path / "saved")
    for name in ("hub", "saved"):
        assert load(tmp_path / name).remarks == []


def test_a_choice_of_columns_is_said_and_a_row_without_an_image_is_refused(tmp_path):
    images = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(12)]
    columns = {"image": images, "img": images[::-1], "label": [0, 1] * 6, "fine_label": [0, 1, 2] * 4}
    kinds = {name: ImageFeature() if name[0] == "i" else Value("int64") for name in columns}
    Dataset.from_dict(columns, Features(kinds)).to_parquet(tmp_path / "a.parquet")
    remarks = load(tmp_path / "a.parquet", test_split="train").remarks
    assert remarks[:3] == [
        "The images are those of the column 'image'; others, by --image_column: img.",
        "The labels are those of the column 'label'; others, by --label_column: fine_label.",
        "The split of 'train' is that of 'test' too: scores on it are not scores on new data.",
    ]
    (tmp_path / "pets").mkdir()
    columns["image"] = [*images[:3], None, *images[4:]]
    Dataset.from_dict(columns, Features(kinds)).to_parquet(tmp_path / "pets" / "train.parquet")
    for place in (tmp_path / "pets", tmp_path / "pets" / "train.parquet"):
        with pytest.raises(DataError, match="split 'train': row 3 has no image"):
            load(place)


def test_classes_that_are_numbers_stand_in_their_order(tmp_path):
    rows = {"image": [plain()] * 6, "label": [10, 2, 2, 10, 10, 2]}
    Dataset.from_dict(rows, Features({"image": ImageFeature(), "label": Value("int64")})).to_parquet(
        tmp_path / "a.parquet"
    )
    splits = load(tmp_path / "a.parquet").splits
    assert splits["train"].features["label"].names == ["2", "10"]
    assert sorted([*splits["train"]["label"], *splits["validation"]["label"]]) == [0, 0, 0, 1, 1, 1]


def test_names_of_folders_are_one_class_however_their_accents_are_written(folder):
    name = "caf\u00e9"
    apart = unicodedata.normalize("NFD", name)
    loaded = load(folder({name: [plain()] * 3, "b": [plain()] * 3}, {apart: [plain()], "b": [plain()]}))
    assert loaded.splits["test"].features["label"].names == ["b", name]
    assert loaded.splits["test"]["label"] == [0, 1]


def test_one_class_alone_is_refused_and_a_class_without_training_images_is_said(folder, tmp_path):
    several = folder({"a": [plain()] * 3, "b": [plain()] * 3}, {"a": [plain()], "c": [plain()]})
    assert "The split 'train' has no image of the class c." in load(several).remarks
    for image in (several / "train" / "b").iterdir():
        image.unlink()
    with pytest.raises(DataError, match="all training images have the class 'a'; two are needed"):
        load(several)


def test_a_test_split_without_classes_is_passed_over(pets):
    for name in ("a", "b"):
        (pets / "test" / name / "0.png").rename(pets / "test" / f"{name}.png")
        (pets / "test" / name).rmdir()
    with pytest.raises(DataError, match="not all equally deep"):
        load(pets)
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=["a", "b"])})
    (pets.parent / "files").mkdir()
    for split, labels in (("train", [0, 1, 1, 0]), ("test", [-1, -1, -1, -1])):
        rows = Dataset.from_dict({"image": [plain()] * 4, "label": labels}, features)
        rows.to_parquet(pets.parent / "files" / f"{split}.parquet")
    loaded = load(pets.parent / "files")
    assert list(loaded.splits) == ["train", "validation"]
    assert "The split 'test' has no labels: it is passed over." in loaded.remarks


@pytest.mark.parametrize(("counts", "apart"), [((20, 20, 1), 4), ((3, 2, 1), 1), ((1, 2, 1), 1), ((6, 6), 2)])
def test_each_class_keeps_an_image_to_train_on(counts, apart):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    rest, chosen = divide_evenly(Dataset.from_dict({"label": labels, "row": range(len(labels))}), 0.1)
    assert set(rest["label"]) == set(labels)
    assert len(chosen) == apart
    assert sorted([*rest["row"], *chosen["row"]]) == list(range(len(labels)))
    if apart > 1:
        assert set(chosen["label"]) == {0, 1}


def test_nothing_is_set_apart_of_classes_with_one_image_each(folder):
    with pytest.raises(DataError, match="its 2 training images are too few to set some apart"):
        load(folder({"a": [plain()], "b": [plain()]}))


def test_a_fingerprint_tells_the_colors_of_palettes_apart():
    def of(colors):
        image = Image.new("P", (2, 2))
        image.putpalette(colors)
        return fingerprint(Dataset.from_dict({"image": [image], "label": [0]}, Features(features)))

    features = {"image": ImageFeature(), "label": ClassLabel(names=["a", "b"])}
    assert of([1, 2, 3] * 4) == of([1, 2, 3] * 4) != of([3, 2, 1] * 4)
