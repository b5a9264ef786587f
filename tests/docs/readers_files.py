"""Files that the pages call a reader's own, small: what each command that names one can read."""

import json
import random

import numpy as np
from PIL import Image


def write_files(folder):
    """Texts, tables, labeled words, pairs, tunes and pictures, by the names that the pages give them."""
    chance = random.Random(0)
    kinds = [chance.choice(("good", "awful")) for _ in range(2000)]
    reviews = [f"a {kind} film number {number}" for number, kind in enumerate(kinds)]
    write(folder / "reviews.csv", ["body,stars", *(f"{text},{5 if 'good' in text else 1}" for text in reviews)])
    write(folder / "reviews.txt", reviews)
    for name in ("my_novel.txt", "much_text.txt", "mine.txt", "more.txt"):
        write(folder / name, [f"The cat sat on mat {chance.randint(0, 9)}." for _ in range(400)])
    for part, count in (("train", 120), ("dev", 30), ("test", 30)):
        words = {"one": "NUM", "cat": "NN", "sat": "VBD", "red": "JJ"}
        sentences = [chance.choices(list(words), k=chance.randint(2, 6)) for _ in range(count)]
        form = "{0}\t{1}\t{1}\tX\t{2}\t_\t0\t_\t_\t_\n".format
        rows = [[form(number, word, words[word]) for number, word in enumerate(row, 1)] for row in sentences]
        write(folder / f"en-{part}.conllu", map("".join, rows))
        write(folder / f"{part}.en", [" ".join(sentence) for sentence in sentences])
        write(folder / f"{part}.fr", [" ".join(words[word] for word in sentence) for sentence in sentences])
    tagged = [chance.choices(["Ann", "Bob", "sees", "reads"], k=4) for _ in range(150)]
    labels = [["B-PER" if word[0].isupper() else "O" for word in sentence] for sentence in tagged]
    rows = ({"tokens": words, "ner_tags": tags} for words, tags in zip(tagged, labels, strict=True))
    write(folder / "names.json", map(json.dumps, rows))
    head = "X:1\nT:Jig\nM:6/8\nL:1/8\nK:G\n"
    bars = ["".join(chance.choices("ABcdefg", k=3)) for _ in range(150)]
    write(folder / "my_tunes.abc", [f"{head}{bar} GAG|{bar} GAG|{bar} AGA|GAG AGA|\n" for bar in bars])
    hours = np.datetime64("2026-01-01T00") + np.arange(24 * 60)
    load = 100 + 20 * np.sin(np.arange(24 * 60) * 2 * np.pi / 24)
    rows = (f"{hour},{value:.2f}" for hour, value in zip(hours, load, strict=True))
    write(folder / "power.csv", ["time,load", *rows])
    for kind, shade in (("dark", 40), ("light", 200)):
        (folder / "my_pictures" / kind).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (40, 30), (shade, shade, number)).save(folder / "my_pictures" / kind / f"{number}.png")
    write(folder / "in.txt", ["Open the file.", "Save it."])


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
