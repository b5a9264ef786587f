import pytest

from seqnlp.data import (
    DataError,
    ReadTune,
    TuneArguments,
    form_of,
    key_of,
    load_tunes,
    normalize_form,
    normalize_key,
    normalize_metre,
    normalize_tune,
    notes_of,
    prompt_for,
    rhythms_of,
    scale_of,
    split_tunes,
    to_abc,
    transpose_tune,
)


TUNE = """X: 12
T: The  Maid, "so fair"   % a comment
T: Another name
M:C|
B:"O'Neill's 1"
K:A Dorian
"Am"A3-A (Bcd=e) | {g}f4 !trill!(g2dB) |! % to the end
w: la la la
(3ABc ~d2 .e2 \\
f2 :|
"""
NORMAL = 'M:2/2\nL:1/8\nK:Ador\nA3-A Bcd=e | f4 g2dB |\n(3ABc d2 e2\nf2 :|\nT:The Maid, "so fair"'


def test_one_form():
    found = normalize_tune(TUNE)
    assert found == {"text": NORMAL, "title": 'The Maid, "so fair"', "metre": "2/2", "key": "Ador"}
    assert to_abc(NORMAL, 7).startswith('X:7\nT:The Maid, "so fair"\nM:2/2\nL:1/8\nK:Ador\nA3-A')
    assert normalize_tune(to_abc(NORMAL)) == found
    assert notes_of([NORMAL]) == ["A3-A Bcd=e | f4 g2dB |\n(3ABc d2 e2\nf2 :|"]
    # As a model may write it: cut off before the title.
    assert to_abc("M:6/8\nL:1/8\nK:Gmaj\nABc") == "X:1\nM:6/8\nL:1/8\nK:Gmaj\nABc\n"


@pytest.mark.parametrize(
    "notes", ["V:1\nABc|\nV:2\nABc|", "[V:1]ABc|[V:2]ABc|", "ABc|\nM:3/4\nABc|", "ABc [K:D] ABc|", "ABc & def|"]
)
def test_what_is_no_single_melody_is_left_out(notes):
    assert normalize_tune(f"X:1\nT:a\nM:4/4\nK:D\n{notes}") is None


@pytest.mark.parametrize(
    "tune",
    [
        "K:D\nV:1\nABc|",
        "V:1 name=fiddle\nK:D\n[V:1]ABc|",
        "K:D clef=treble\nABc|",
        "K:D treble\nABc|",
        "K:D\nP:A\n[P:A]ABc|[r:again]",
        "K:D\nQ:1/4=90\nABc|",
    ],
)
def test_a_single_melody_in_other_clothes(tune):
    assert normalize_tune(f"X:1\nT:a\nM:6/8\nL:1/8\n{tune}\n")["text"] == "M:6/8\nL:1/8\nK:Dmaj\nABc|\nT:a"


@pytest.mark.parametrize(
    ("notes", "read"),
    [
        ("!///!ABc!-(!def!-)!|", "ABcdef|"),
        ("ABc!8va(!def!+!|", "ABcdef|"),
        ("ABc|!def|!", "ABc|def|"),  # an old way to break a line
        ("+trill+ABc+ff+|", "ABc|"),
        ("+ACE+2B+D2F2+|", "+ACE+2B+D2F2+|"),  # an old way to write a chord
    ],
)
def test_what_decorates_is_dropped_and_no_note_with_it(notes, read):
    assert normalize_tune(f"X:1\nT:a\nM:6/8\nL:1/8\nK:D\n{notes}\n")["text"].split("\n")[3] == read


@pytest.mark.parametrize("notes", ["ABc é def|", '"Am ABc def|', "ABc [I:octave -1] def|", "V:1 shift=CD\nABc|"])
def test_signs_that_are_none_of_the_standards_leave_a_tune_out(notes):
    assert normalize_tune(f"X:1\nT:a\nM:6/8\nL:1/8\nK:D\n{notes}\n") is None


@pytest.mark.parametrize("key", ["K:D ^g", "K:D exp ^f", "K:HP", "K:D transpose=2", "K:D octave=-1"])
def test_keys_that_sound_otherwise_are_left_out(key):
    assert normalize_tune(f"X:1\nM:6/8\n{key}\nABc|\n") is None


@pytest.mark.parametrize(("metre", "unit"), [("2/4", "1/16"), ("6/8", "1/8"), ("C", "1/8"), ("3/8", "1/16")])
def test_the_unit_is_the_standards_where_it_is_not_given(metre, unit):
    assert f"L:{unit}\n" in normalize_tune(f"X:1\nM:{metre}\nK:D\nABc|")["text"]


@pytest.mark.parametrize(
    ("key", "normal"),
    [("G", "Gmaj"), ("G Major", "Gmaj"), ("Em", "Emin"), ("E minor", "Emin"), ("Bb", "Bbmaj"), ("F#mix", "F#mix")],
)
def test_keys(key, normal):
    assert normalize_key(key) == normal


@pytest.mark.parametrize("key", ["none", "None", "", "none clef=treble"])
def test_a_tune_without_a_key_signature_sounds_as_it_is_written(key):
    found = normalize_tune(f"X:1\nT:a\nM:6/8\nL:1/8\nK:{key}\nFGA ^F2F|")
    assert (found["key"], key_of(found["text"])) == ("none", "none")
    assert found["text"] == "M:6/8\nL:1/8\nK:none\nFGA ^F2F|\nT:a"
    melody = ReadTune(to_abc(found["text"])).melody
    assert [pitch for pitch, *_ in melody.notes] == [65, 67, 69, 66, 66]  # as abc2midi plays it, too
    assert scale_of("none") is None
    assert transpose_tune(found["text"], 1) is None


def test_prompts():
    assert prompt_for(None, None) == ""
    assert prompt_for(None, "C") == "M:4/4\n"
    assert prompt_for("A Dorian", "6/8") == "M:6/8\nL:1/8\nK:Ador\n"
    assert prompt_for("none", "6/8") == "M:6/8\nL:1/8\nK:none\n"
    # The unit is the one that is usual with this metre.
    tunes = ["M:2/4\nL:1/16\nK:Gmaj\nABcd|", "M:2/4\nL:1/16\nK:Dmaj\nABcd|", "M:2/4\nL:1/8\nK:Amaj\nAB|"]
    assert prompt_for("A", "2/4", tunes) == "M:2/4\nL:1/16\nK:Amaj\n"
    with pytest.raises(DataError, match="--metre 2/4 and --key F#m hold '#', which no training tune has"):
        prompt_for("F#m", "2/4", tunes)
    with pytest.raises(DataError, match="'H' is no key: write a note from A to G"):
        prompt_for("H", "6/8")
    with pytest.raises(DataError, match="'waltz' is no metre: write a fraction"):
        prompt_for("D", "waltz")
    for given in (("D" * 999, "6/8"), ("D", "6" * 999), ("D", "6/8", [], "1" * 999)):
        with pytest.raises(DataError) as raised:
            prompt_for(*given)
        assert len(str(raised.value)) < 300
    with pytest.raises(DataError, match="--key D: give --metre too"):
        prompt_for("D", None)
    assert normalize_metre("C") == "4/4"


def test_a_file_of_tunes(tmp_path):
    tunes = [f"X:{number}\nT:Tune {number}\nM:4/4\nL:1/8\nK:D\n{'ABcd' * (number + 1)}|\n" for number in range(12)]
    tunes.append(tunes[0].replace("Tune 0", "A copy"))
    train, validation = tmp_path / "train.abc", tmp_path / "validation.abc"
    train.write_text("% a collection\n\n" + "\n".join(tunes))
    validation.write_text(tunes[3])
    splits = load_tunes(TuneArguments(train_file=str(train), validation_file=str(validation))).splits
    assert splits["validation"]["title"] == ["Tune 3"]
    assert splits["train"]["title"] == [f"Tune {number}" for number in range(12) if number != 3]
    assert len(split_tunes(train.read_text())) == 13


def test_of_one_file_whole_tunes_are_set_apart(tmp_path):
    tunes = [f"X:{number}\nT:Tune {number}\nM:4/4\nK:D\n{'ABcd' * (number + 1)}|\n" for number in range(60)]
    (tmp_path / "mine.abc").write_text("\n".join(tunes))
    splits = load_tunes(TuneArguments(train_file=str(tmp_path / "mine.abc"))).splits
    titles = [title for rows in splits.values() for title in rows["title"]]
    assert sorted(titles) == sorted(f"Tune {number}" for number in range(60))
    assert 1 <= len(splits["validation"]) <= 15
    splits = load_tunes(TuneArguments(train_file=str(tmp_path / "mine.abc"), max_train_samples=45)).splits
    assert sum(map(len, splits.values())) == 45


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("once upon a time", "tune 1: 'once upon a time' is no tune in ABC notation, it has no line K: with a key."),
        ("X:1\nT:a\nK:G\n", "it has no notes."),
        ("X:1\nM:4/4\nK:G\nV:1\nABc|\nV:2\nABc|", "split 'validation': of its 1 tunes none is a single plain melody."),
        ("X:1\nM:4/4\nK:G\nABc|", "split 'train': of its 1 tunes 1 have the notes of held-out tunes."),
    ],
)
def test_what_is_no_tune_is_one_line(tmp_path, content, message):
    file = tmp_path / "tunes.abc"
    file.write_text(content)
    with pytest.raises(DataError) as error:
        load_tunes(TuneArguments(train_file=str(file), validation_file=str(file)))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_packaged_tunes():
    loaded = load_tunes(TuneArguments(dataset_name="sample:music21"))
    splits = loaded.splits
    assert loaded.source.name == "sample:music21"
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 3853, "validation": 152, "test": 158}
    titles = {split: set(rows["title"]) for split, rows in splits.items()}
    assert not titles["train"] & (titles["validation"] | titles["test"])
    assert all(text.startswith("M:") for text in splits["train"]["text"])


JIG = "M:6/8\nL:1/8\nK:Gmaj\nR:jig\nB2A GAB|=F3 [1 G3:|[2 G2 z||\nT:One"


def test_the_form_stands_before_the_notes():
    assert normalize_tune("X:1\nT:One\nR: Jig\nM:6/8\nL:1/8\nK:G\nB2A GAB|=F3 [1 G3:|[2 G2 z||")["text"] == JIG
    assert to_abc(JIG, 3).startswith("X:3\nT:One\nR:jig\nM:6/8\nL:1/8\nK:Gmaj\nB2A")
    assert normalize_tune(to_abc(JIG))["text"] == JIG
    assert notes_of([JIG, NORMAL])[0] == "B2A GAB|=F3 [1 G3:|[2 G2 z||"
    assert (form_of(JIG), form_of(NORMAL), form_of("M:6/8")) == ("jig", None, None)
    assert (key_of(JIG), key_of(NORMAL), key_of("M:6/8\nL:1/8\nABc"), key_of("")) == ("Gmaj", "Ador", None, None)
    assert rhythms_of(JIG) == ["M:6/8", "L:1/8 n2n nnn", "L:1/8 n3", "L:1/8 n3", "L:1/8 n2 z"]
    # What is no name is left out, as are other fields.
    assert form_of(normalize_tune("X:1\nR:17 bars\nM:6/8\nK:G\nABc|")["text"]) is None
    assert normalize_form(" Slipjig ") == normalize_form("SLIP  JIG") == "slip jig"


def test_a_form_is_asked_for():
    reel = "M:4/4\nL:1/8\nK:Dmaj\nR:reel\nABcd|\nT:Two"
    tunes = [JIG, JIG.replace("Gmaj", "Dmaj"), JIG.replace("Gmaj", "Dmaj").replace("6/8", "9/8"), JIG, reel]
    assert prompt_for(None, None, tunes, "Jig") == "M:6/8\nL:1/8\nK:Gmaj\nR:jig\n"
    assert prompt_for("D", None, tunes[1:], "jig") == "M:6/8\nL:1/8\nK:Dmaj\nR:jig\n"
    assert prompt_for(None, "9/8", tunes, "jig") == "M:9/8\nL:1/8\nK:Dmaj\nR:jig\n"
    assert prompt_for("A", "6/8", (), "jig") == "M:6/8\nL:1/8\nK:Amaj\nR:jig\n"
    with pytest.raises(DataError, match=r"--form polka: no training tune is one; their forms are jig \(4\), reel"):
        prompt_for(None, None, tunes, "polka")
    with pytest.raises(DataError, match="none of them has a line R: with its form"):
        prompt_for("D", "4/4", [NORMAL], "jig")
    with pytest.raises(DataError, match="no training tune of this form has --metre 6/8; give both --key and --metre"):
        prompt_for(None, "6/8", tunes, "reel")
    with pytest.raises(DataError, match="'4711' is no form of a tune: write a word or two"):
        prompt_for(None, None, tunes, "4711")


def test_characters_that_end_no_line_begin_none(tmp_path):
    tune = normalize_tune("X:1\nT:a\u2028M:6/8\nM:4/4\nK:C\nABcd|\nw:la\x85efga\ndcBA|")
    assert tune["text"] == "M:4/4\nL:1/8\nK:Cmaj\nABcd|\ndcBA|\nT:a M:6/8"
