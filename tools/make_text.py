#!/usr/bin/env python3
"""Write English-like text from a small probabilistic grammar: training, calibration and test text of our own.

    python3 tools/make_text.py --seed 1 --sentences 20000 > text.txt

The same seed and count give the same text on every machine. A paragraph (one line) tells of one topic, one town and
two or three people with invented names, who keep their names, pronouns, trades and possessions to its end: so a
reader can predict agreement across a clause, who is meant by a pronoun, the result of a small sum, and names seen
before.
Needs nothing but Python.
"""
import argparse
import random
import sys

ONSETS = "b br d dr f g gr h k l m n p r s st t th v w".split()
VOWELS = "a e i o u ai ea or an en il".split()
ENDINGS = {"she": "a ia ela ine wen".split(), "he": "o us an ric d".split()}
TOWN_ENDINGS = "ford bury ton mouth field wick stead ham".split()
TRADES = "baker weaver miller teacher sailor farmer painter carpenter doctor clerk gardener smith".split()
ADJECTIVES = "old new small large quiet bright heavy red green plain strange broken clean famous empty".split()
MANNERS = ["slowly", "carefully", "quickly", "gladly", "at once", "without a word", "in silence", "with great care"]
WEATHER = ["rain", "snow", "fog", "wind", "frost", "sunshine", "thunder"]
MONTHS = "January March April June July September October December".split()

# topic -> singular nouns, places, verbs (base, past)
TOPICS = {
    "harbour": ("boat net rope barrel anchor sail fish lantern", "quay pier lighthouse boathouse beach",
                "mend:mended load:loaded sell:sold paint:painted carry:carried"),
    "kitchen": ("loaf cake pie onion cup bowl spoon apple", "oven pantry table window cellar",
                "bake:baked wash:washed cut:cut share:shared taste:tasted"),
    "school": ("book map lesson pencil letter desk song bell", "classroom library yard gate hall",
               "read:read copy:copied study:studied lose:lost find:found"),
    "farm": ("cow hen horse field fence plough egg sack", "barn orchard stable pond meadow",
             "feed:fed sell:sold count:counted lead:led buy:bought"),
    "music": ("fiddle drum flute song dance string concert choir", "stage hall square tavern chapel",
              "play:played tune:tuned practise:practised hear:heard repair:repaired"),
    "workshop": ("wheel clock chair hammer nail lamp cart saw", "bench forge shed yard attic",
                 "build:built repair:repaired sharpen:sharpened measure:measured paint:painted"),
    "market": ("coin basket ribbon coat hat lemon cloth stall", "square bridge corner shop gate",
               "buy:bought sell:sold weigh:weighed count:counted carry:carried"),
}
IRREGULAR = {"loaf": "loaves", "fish": "fish"}


def plural(noun):
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "ch", "sh", "x")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"


def article(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


class Paragraph:
    """The small world of one paragraph; `sentence()` says one more thing about it."""

    def __init__(self, rng):
        self.rng = rng
        nouns, places, verbs = TOPICS[self.often(sorted(TOPICS))]
        self.nouns = rng.sample(nouns.split(), 4)
        self.places = rng.sample(places.split(), 2)
        self.verbs = [verb.split(":") for verb in rng.sample(verbs.split(), 3)]
        self.town = (rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(TOWN_ENDINGS)).capitalize()
        self.people = [self.person() for _ in range(rng.choice((2, 2, 3)))]
        self.year = rng.randint(1700, 1999)
        self.started = False

    def often(self, items):
        """One of the items, the earlier the likelier (Zipf)."""
        return self.rng.choices(items, [1 / rank for rank in range(1, len(items) + 1)])[0]

    def person(self):
        rng = self.rng
        pronoun = rng.choice(("she", "he"))
        syllables = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(rng.choice((1, 1, 2))))
        return {"name": (syllables + rng.choice(ENDINGS[pronoun])).capitalize(), "they": pronoun,
                "their": {"she": "her", "he": "his"}[pronoun], "them": {"she": "her", "he": "him"}[pronoun],
                "trade": self.often(TRADES), "owns": rng.choice(self.nouns), "like": self.often(ADJECTIVES)}

    def opening(self):
        self.started = True
        first, second = self.people[:2]
        return self.rng.choice((
            "In {year} {a} came to {town}, where {a_they} worked as {a_trade} near the {place}.",
            "{a} and {b} lived in {town}, and both of them knew the {place} well.",
            "Everyone in {town} remembers the {season} of {year}, when {a} the {a_job} met {b} the {b_job}.",
        )).format(a=first["name"], b=second["name"], a_they=first["they"], a_trade=article(first["trade"]),
                  a_job=first["trade"], b_job=second["trade"], town=self.town, year=self.year,
                  place=self.places[0], season=self.often(["summer", "winter", "spring", "autumn"]))

    def action(self):
        (base, past), person = self.often(self.verbs), self.often(self.people)
        return self.rng.choice((
            "{a} {past} the {adjective} {noun} {manner}.",
            "At the {place} {a} {past} {their} {owned}, and {they} did it {manner}.",
            "{a} wanted to {base} the {noun} in {month}, but the {weather} kept {them} at home.",
            "\"Who {past} my {noun}?\" asked {a}, and {b} answered {manner}.",
            "Before {they} {past} the {noun}, {a} went to the {place}.",
        )).format(a=person["name"], b=self.other(person)["name"], they=person["they"], their=person["their"],
                  them=person["them"], owned=self.possession(person), base=base, past=past,
                  noun=self.often(self.nouns), adjective=self.often(ADJECTIVES), place=self.often(self.places),
                  manner=self.often(MANNERS), month=self.often(MONTHS), weather=self.often(WEATHER))

    def possession(self, person):
        """What a person owns: the same adjective and noun wherever the paragraph mentions it."""
        return f"{person['like']} {person['owns']}"

    def sum(self):
        giver = self.often(self.people)
        had = self.rng.randint(3, 30)
        gave = self.rng.randint(1, had - 1)
        noun = self.often(self.nouns)
        left = had - gave
        return (f"{giver['name']} had {had} {plural(noun)} and gave {gave} of them to {self.other(giver)['name']}, so "
                f"{left} {noun if left == 1 else plural(noun)} {'was' if left == 1 else 'were'} left.")

    def agreement(self):
        """A verb whose number is set by a noun several words before it."""
        one, two = self.rng.sample(self.nouns, 2)
        many = self.rng.random() < 0.5
        near = self.rng.choice((f"beside the {plural(two)}", f"behind the {self.often(self.places)}",
                                f"that {self.often(self.people)['name']} {self.often(self.verbs)[1]}",
                                f"in the {self.often(self.places)} of {self.town}"))
        state = self.rng.choice(("{be} still {adjective}", "{be} never {adjective} again", "{have} become {adjective}"))
        return f"The {plural(one) if many else one} {near} " + state.format(
            be="were" if many else "was", have="have" if many else "has", adjective=self.often(ADJECTIVES)) + "."

    def relation(self):
        person = self.often(self.people)
        other = self.other(person)
        return self.rng.choice((
            "{a}, {trade} of {town}, was proud of {their} {owned}.",
            "{b} thought that {a} was a good {job}, because {they} always worked {manner}.",
            "If {a} had not lost {their} {owned}, {b} would never have seen the {place}.",
            "{a} showed {b} {their} {owned}, and {b} said that {other_they} liked it.",
            "It was {a} who owned the {owned}; {b} owned the {other_owned}.",
        )).format(a=person["name"], b=other["name"], trade=article(person["trade"]), job=person["trade"],
                  they=person["they"], their=person["their"], owned=self.possession(person),
                  other_they=other["they"], other_owned=self.possession(other), town=self.town,
                  place=self.often(self.places), manner=self.often(MANNERS))

    def other(self, person):
        return self.rng.choice([candidate for candidate in self.people if candidate is not person])

    def date(self):
        self.year += self.rng.randint(1, 4)
        return (f"In {self.often(MONTHS)} {self.year} there was {self.often(WEATHER)} over {self.town}, "
                f"and the {self.often(self.places)} was closed for {self.rng.randint(2, 20)} days.")

    def sentence(self):
        if not self.started:
            return self.opening()
        kinds = (self.action, self.relation, self.agreement, self.sum, self.date)
        return self.rng.choices(kinds, (8, 5, 4, 2, 1))[0]()


def write_text(seed, sentences, file):
    rng = random.Random(seed)
    while sentences > 0:
        count = min(sentences, rng.randint(5, 12))
        paragraph = Paragraph(rng)
        file.write(" ".join(paragraph.sentence() for _ in range(count)) + "\n")
        sentences -= count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True, help="other seeds give other names and facts")
    parser.add_argument("--sentences", type=int, required=True, help="number of sentences to write")
    arguments = parser.parse_args()
    write_text(arguments.seed, arguments.sentences, sys.stdout)


if __name__ == "__main__":
    main()
