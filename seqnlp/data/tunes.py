"""
Tunes in ABC notation (abcnotation.com/wiki/abc:standard:v2.1), brought into one form that a model can learn.

The form has the lines `M:` (metre), `L:` (unit of length), `K:` (key) and, where it is known, `R:` (the dance, such as
a jig), then the notes, and `T:` (title) last: a tune can be asked for by metre, key and dance, and they stand next to
the notes that have to keep to them, with no title in between to be remembered across. [`to_abc`] gives it the order of
the standard.
"""

import re
from collections import Counter
from collections.abc import Iterable

from datasets import Dataset, DatasetDict

from .arguments import TuneArguments
from .columns import values_of
from .errors import DataError
from .loaded import LoadedData
from .text import read_documents


MODES = {
    "": "maj",
    "maj": "maj",
    "ion": "maj",
    "m": "min",
    "min": "min",
    "aeo": "min",
    "dor": "dor",
    "mix": "mix",
    "lyd": "lyd",
    "phr": "phr",
    "loc": "loc",
}
NO_KEY = "none"
_FIELD = re.compile(r"^([A-Za-z+]):(?![|:])(.*)$")  # `A:|` is a note and a repeat sign; `+:` goes on with a field
_KEY = re.compile(r"^([A-G])([#b]?)\s*([A-Za-z]*)$")
# How a key is drawn, and not what it sounds like.
_CLEF = re.compile(r"\s*\b(?:(?:clef|middle|m|stafflines|staffscale|cue|style)=\S+|treble|bass|alto|tenor)(?!\S)")
# How far a voice sounds from where it is written.
_MOVED = re.compile(r"[-+]8(?!\d)|\b(?:octave|transpose|t|shift|score|sound)=|^(?:octave|transpose)\b")
_METRE = re.compile(r"^(\d+)\s*/\s*(\d+)$")
_COMMENT = re.compile(r"(?<!\\)%.*")
_TUNE = re.compile(r"^[ \t]*(?=X:)", re.MULTILINE)
# What is played the same without it: texts, chord symbols, decorations, grace notes, slurs, marks of the typesetter.
# The first group is a chord, which stays: between plus signs there were chords, too, until 2003 (`+ff+` is none).
_ORNAMENTS = re.compile(
    r"(\+(?!f+\+)(?:(?:\^\^?|__?|=)?[A-Ga-g][,']*[\d/]*){2,}\+)|"
    r'"[^"]*"|![^!|\s]+!|\+[A-Za-z]+\+|\{[^}]*\}|\((?!\d)|\)|y\d+|[`\\~.!uvTHLMOPS$#;?@]|\*'
)
_ANOTHER = re.compile(r"^K:", re.MULTILINE)  # where a file has no lines X:
_INLINE = re.compile(r"\[([A-Za-z]):([^\]]*)\]")
_TYPESET = re.compile(r"^%%begin(\w+).*?^%%end\1", re.MULTILINE | re.DOTALL)
# Signs that sound like none of the standard's: quarter tones, two different accidentals, letters with a length, a
# quote without its end, letters of other alphabets.
_UNKNOWN = re.compile(r"[\^_]\d*/\d*[A-Ga-g]|_[=^]|=[_^=]|\^[_=]|[I-Wh-w]\d|\"|[^\0-\x7f]")
_SPACE = re.compile(r"[ \t]+")
LONGEST = 1500
CHANGES = "MKLmU"  # fields that, within the notes, change what they sound like: metre, key, unit, macros
HEADER_LINES = 3  # before the form, if there is one, and the notes
LONGEST_FORM = 24


def split_tunes(text: str) -> list[str]:
    """
    The tunes of an ABC file, each from its line `X:` to the next; the whole text where there is no such line. What
    stands before the first one holds for all: `M:` and `L:` where they have none of their own.
    """
    head, *tunes = _TUNE.split(text)
    common = [line for line in head.split("\n") if line.startswith(("M:", "L:"))]
    return [_with_defaults(tune.strip(), common) for tune in tunes] or [text]


def _with_defaults(tune: str, common: list[str]) -> str:
    """A tune whose fields are followed by those of the file, of which the first of a kind counts."""
    header, key, notes = tune.partition("\nK:")
    return "\n".join([header, *common]) + key + notes if key else tune


def without_rest(tune: str) -> tuple[str, str]:
    """A tune, which a blank line behind notes ends; and the words that stand behind that line, remarks for one."""
    key = re.search(r"^K:.*\n\s*", tune, re.MULTILINE)
    end = re.search(r"\n[ \t]*\n(?=[^A-Za-z]*[A-Za-z])", tune[key.end() :]) if key else None
    return (tune, "") if end is None else (tune[: key.end() + end.start()], tune[key.end() + end.end() :])


def normalize_key(key: str) -> str:
    """
    Tonic and mode of a key, e.g. `Gmaj`, `Amin`, `Ddor` for `G`, `A minor`, `D Dorian`; `none` for `none` and for
    nothing, which is no key signature (section 3.1.14 of the standard): notes sound as they are written.

    Raises:
        DataError: For something else.
    """
    written = _CLEF.sub("", key).strip()
    if written.lower() in ("", NO_KEY):
        return NO_KEY
    found = _KEY.match(written)
    mode = MODES.get(found.group(3).lower()[:3]) if found else None
    if mode is None:
        raise DataError(
            f"{key[:60]!r} is no key: write a note from A to G, perhaps # or b, and perhaps a mode "
            f"({', '.join(dict.fromkeys(MODES.values()))}), e.g. D, Gmaj, Emin or Ador; or none."
        )
    return found.group(1) + found.group(2) + mode


def normalize_metre(metre: str) -> str:
    """
    A metre as a fraction, e.g. `4/4` for `C`.

    Raises:
        DataError: For something else.
    """
    metre = {"C": "4/4", "C|": "2/2"}.get(metre.strip(), metre.strip())
    found = _METRE.match(metre)
    if not found or int(found.group(1)) == 0 or int(found.group(2)) not in (1, 2, 4, 8, 16, 32):
        raise DataError(f"{metre[:60]!r} is no metre: write a fraction such as 6/8 or 4/4.")
    return f"{int(found.group(1))}/{int(found.group(2))}"


def normalize_form(form: str) -> str:
    """
    The name of a form in small letters, e.g. `slip jig` for `Slipjig`.

    Raises:
        DataError: For something else than a few words.
    """
    name = " ".join(form.lower().split()).replace("slipjig", "slip jig")
    if not re.fullmatch(rf"[^\W\d_][\w '-]{{0,{LONGEST_FORM - 1}}}", name):
        raise DataError(f"{form[:60]!r} is no form of a tune: write a word or two, e.g. jig, reel or slip jig.")
    return name


def form_of(text: str) -> str | None:
    """The form of a tune in the form of this file, if it has a line `R:`."""
    lines = text.split("\n", HEADER_LINES + 1)
    line = lines[HEADER_LINES] if len(lines) > HEADER_LINES else ""
    return line[2:] if line.startswith("R:") else None


def key_of(text: str) -> str | None:
    """The key of a tune in the form of this file, e.g. `Gmaj`; `None` where a model has written no such line."""
    line = text.split("\n", HEADER_LINES)[HEADER_LINES - 1 : HEADER_LINES]
    return line[0][2:] if line and line[0].startswith("K:") else None


_PITCH = re.compile(r"[_^=]*[A-Ga-g][,']*")
_BAR_LINE = re.compile(r"[|:\[\]]*[|:][|:\[\]]*\d?|\[\d")  # with the number of an ending, which may begin within a bar


def rhythms_of(text: str) -> list[str]:
    """
    The metre, and the rhythm of each bar as it is written, of a tune in the form of this file: `nnn n2n` for
    `BGG A2D`, with the unit of length before it.
    """
    metre, unit = text.split("\n", 2)[:2] if text.count("\n") > 1 else ("", "")
    bars = _BAR_LINE.split(_PITCH.sub("n", notes_of([text])[0]))
    return [metre, *(f"{unit} {' '.join(bar.split())}" for bar in bars if "n" in bar)]


def normalize_tune(tune: str) -> dict[str, str] | None:
    """
    A tune in the form of this file.

    What is dropped is not heard, or not in a plain melody: comments, fields other than those above, lyrics, chord
    symbols, decorations, grace notes, slurs; and a form that is no name of a few words.

    Returns:
        `text`, `title`, `metre` and `key`; `None` for a tune that is no single plain melody (several voices, a change
        of metre, key or unit, no fixed metre, a voice that sounds higher or lower than it is written, signs that are
        none of the standard's). One named voice and names of parts change nothing.

    Raises:
        DataError: If there is no key or there are no notes: this is no tune.
    """
    fields: dict[str, str] = {}
    body: list[str] = []
    changes: list[tuple[str, str]] = []  # fields within the notes
    for written in without_rest(_TYPESET.sub("", tune))[0].split("\n"):
        line = _COMMENT.sub("", written).strip()
        field = _FIELD.match(line)
        if field and "K" not in fields:
            fields.setdefault(field.group(1), field.group(2).strip())
        elif field:
            changes.append((field.group(1), field.group(2).strip()))
        elif line and "K" in fields:
            body.append(line)
    if "K" not in fields:
        raise DataError("it has no line K: with a key.")
    notes = "\n".join(body)
    changes += [(field, value.strip()) for field, value in _INLINE.findall(notes)]
    voices = {value.split()[0] for field, value in [*fields.items(), *changes] if field == "V" and value}
    if _ANOTHER.search(without_rest(tune)[1]):
        return None
    if len(voices) > 1 or "&" in notes or "m" in fields or any(field in CHANGES for field, _ in changes):
        return None
    if any(_MOVED.search(value) for field, value in [*fields.items(), *changes] if field in "KVI"):
        return None
    notes = _INLINE.sub("", notes)
    lines = (_SPACE.sub(" ", _ORNAMENTS.sub(r"\1", line)).strip() for line in notes.split("\n"))
    notes = "\n".join(filter(None, lines))
    if not re.search(r"[A-Ga-g]", notes):
        raise DataError("it has no notes.")
    if _UNKNOWN.search(notes):
        return None
    try:
        key, metre = normalize_key(fields["K"]), normalize_metre(fields.get("M", ""))
    except DataError:
        return None
    numerator, denominator = map(int, metre.split("/"))
    unit = fields.get("L") or ("1/16" if numerator / denominator < 0.75 else "1/8")
    if len(notes) > LONGEST or not re.fullmatch(r"1/(4|8|16|32)", unit.replace(" ", "")):
        return None
    title = re.sub(r"\s+", " ", fields.get("T", "")).strip() or "Untitled"
    try:
        form = f"R:{normalize_form(fields.get('R', ''))}\n"
    except DataError:
        form = ""
    text = f"M:{metre}\nL:{unit.replace(' ', '')}\nK:{key}\n{form}{notes}\nT:{title}"
    return {"text": text, "title": title, "metre": metre, "key": key}


def to_abc(text: str, number: int = 1) -> str:
    """A tune in the form of this file as ABC notation: `X:` and the title first, the key last of the header."""
    lines = text.strip("\n").split("\n")
    fields = {line[0]: line for line in lines[: HEADER_LINES + 1] if _FIELD.match(line)}
    titles = [line for line in lines if line.startswith("T:")]
    ordered = [*titles[-1:], *(fields[field] for field in "RMLK" if field in fields)]
    body = [line for line in lines if line not in ordered and line not in titles]
    return "\n".join([f"X:{number}", *ordered, *body]) + "\n"


def notes_of(tunes: Iterable[str]) -> list[str]:
    """The notes alone of tunes in the form of this file."""
    bodies = (text.split("\n")[HEADER_LINES + (form_of(text) is not None) :] for text in tunes)
    return ["\n".join(line for line in body if not line.startswith("T:")) for body in bodies]


def prompt_for(key: str | None, metre: str | None, tunes: Iterable[str] = (), form: str | None = None) -> str:
    """
    What a tune of this key, metre and form begins with.

    Args:
        key: The key, or `None` to leave it open.
        metre: The metre; the key stands behind it.
        tunes: Tunes in the form of this file, of which those in this metre say which unit is usual, and those of this
            form which metre and key are.
        form: The form, such as `jig`, or `None` to leave it open; it stands behind metre and key.

    Raises:
        DataError: For a key without a metre, for what is no key, metre or form, for characters that no tune has, and
            for a form that none has.
    """
    tunes = list(tunes)
    if form is not None:
        form = normalize_form(form)
        key, metre = _usual(form, key, metre, tunes)
    if metre is None:
        if key is not None:
            raise DataError(f"--key {key}: give --metre too, since a tune begins with it, e.g. --metre 6/8.")
        return ""
    prompt = f"M:{normalize_metre(metre)}\n"
    if key is not None:
        units = Counter(text.split("\n")[1] for text in tunes if text.startswith(prompt))
        prompt += f"{units.most_common(1)[0][0] if units else 'L:1/8'}\nK:{normalize_key(key)}\n"
    prompt += f"R:{form}\n" if form is not None else ""
    unknown = set(prompt).difference(*tunes) if tunes else set()
    if unknown:
        raise DataError(f"--metre {metre} and --key {key} hold {min(unknown)!r}, which no training tune has.")
    return prompt


def _usual(form: str, key: str | None, metre: str | None, tunes: list[str]) -> tuple[str, str]:
    """Key and metre of tunes of a form: what is given, and of what is not the most frequent pair among some tunes."""
    if key is not None and metre is not None and not tunes:
        return key, metre
    forms = Counter(found for text in tunes if (found := form_of(text)))
    if form not in forms:
        known = ", ".join(f"{name} ({count:,})" for name, count in forms.most_common(6))
        known = f"their forms are {known}" if known else "none of them has a line R: with its form"
        raise DataError(f"--form {form}: no training tune is one; {known}.")
    headers = Counter()
    for text in tunes:
        its_metre, _, its_key = (line[2:] for line in text.split("\n")[:HEADER_LINES])
        fits = (key is None or normalize_key(key) == its_key) and (
            metre is None or normalize_metre(metre) == its_metre
        )
        if fits and form_of(text) == form:
            headers[its_key, its_metre] += 1
    if not headers:
        asked = " and ".join(f"--{name} {value}" for name, value in (("key", key), ("metre", metre)) if value)
        raise DataError(f"--form {form}: no training tune of this form has {asked}; give both --key and --metre.")
    return headers.most_common(1)[0][0]


def load_tunes(arguments: TuneArguments) -> LoadedData:
    """
    The splits of a dataset of tunes in ABC notation, with the columns `text` (the form of this file), `title`, `metre`
    and `key`. A row holds one tune, or a file of them. Tunes that are no single plain melody are left out, and so are
    tunes with the same notes as one before.

    Raises:
        DataError: For a row that is no tune, and where [`seqnlp.data.load_texts`] raises it.
    """
    read = read_documents(arguments, divide=split_tunes)
    texts, source = read.splits, read.source
    seen: set[str] = set()
    splits = {}
    for split in ("test", "validation", "train"):  # held-out tunes first: a copy goes from the training set
        if split not in texts:
            continue
        tunes, copies, others, cut = [], 0, 0, 0
        for number, tune in enumerate(values_of(texts[split], "text"), start=1):
            try:
                found = normalize_tune(tune)
            except DataError as error:
                shown = " ".join(tune.split())[:40]
                raise DataError(
                    f"Dataset {source.name!r}, split {split!r}, tune {number}: {shown!r} is no tune in ABC notation, "
                    f"{error}"
                ) from error
            cut += "|" in without_rest(tune)[1]
            notes = found and notes_of([found["text"]])[0]
            if found is None:
                others += 1
            elif notes in seen:
                copies += 1
            else:
                seen.add(notes)
                tunes.append(found)
        if not tunes:
            why = f"{copies} have the notes of held-out tunes" if copies else "none is a single plain melody"
            raise DataError(f"Dataset {source.name!r}, split {split!r}: of its {number} tunes {why}.")
        if cut:
            read.remarks.append(
                f"The split {split!r}: tunes that seem to go on behind a blank line: {cut:,}. It ends a tune, and "
                "what follows is left out."
            )
        for count, why in ((others, "are no single plain melody"), (copies, "have the notes of another tune")):
            if count:
                read.remarks.append(f"The split {split!r}: {count:,} of {number:,} tunes {why} and are left out.")
        splits[split] = Dataset.from_list(tunes)
    ordered = {split: splits[split] for split in ("train", "validation", "test") if split in splits}
    return LoadedData(DatasetDict(ordered), source, remarks=read.remarks, counts_text=True)
