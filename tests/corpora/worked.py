# ruff: noqa: E501, RUF005 - one phrase a line
"""Worked solutions of word problems: what is asked is said last or nearly last, in many ways, and never marked."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.corpora import Case

Worked = tuple[str, str, str]  # question, reply, answer
NAMES = ("Jonas", "Anna", "Sven", "Maria", "Tom", "Priya", "Bill", "Olga")
THINGS = ("grey geese", "marbles", "stickers", "blue pens", "apples", "tickets")


def algebra(r: random.Random) -> Worked:
    name, thing, x, k, d = (
        r.choice(NAMES),
        r.choice(THINGS),
        r.randint(2, 30),
        r.randint(2, 6),
        r.randint(1, 9),
    )
    total = k * x + d * (x + 2)
    question = (
        f"{name} has some {thing}. {k} times their number plus {d} times two more than their number is {total}. "
        f"How many {thing} does {name} have?"
    )
    steps = r.choice(
        [
            f"Let x be the number of {thing}. The equation is {k}x + {d}(x + 2) = {total}. Expanding gives "
            f"{k}x + {d}x + {2 * d} = {total}. So {k + d}x = {total - 2 * d}, x = {x}.",
            f"Let x be the number of {thing}.\n\n{k}x + {d}(x + 2) = {total}\n{k + d}x + {2 * d} = {total}\n"
            f"{k + d}x = {total - 2 * d}\nx = {x}\n",
            f"We can write the equation:\n\n{k}x + {d}(x+2) = {total}\n\nwhere x is the number of {thing}. Subtract "
            f"{2 * d} from both sides: {k + d}x = {total - 2 * d}. Dividing by {k + d}: x = {total - 2 * d}/{k + d} = {x}.",
        ]
    )
    end = r.choice(
        [
            f"{name} has {x} {thing}.",
            f"So, {name} has {x} {thing}.",
            f"Therefore {name} has {x} {thing} in all.",
        ]
        + [f"This means that there are {x} {thing}.", f"Thus the number of {thing} is {x}."]
    )
    return question, f"{steps} {end}", str(x)


def algebra_latex(r: random.Random) -> Worked:
    name, thing, x, k, d = (
        r.choice(NAMES),
        r.choice(THINGS),
        r.randint(2, 30),
        r.randint(2, 6),
        r.randint(1, 9),
    )
    total = k * x + d
    question = (
        f"{d} more than {k} times the number of {name}'s {thing} is {total}. How many {thing} are there?"
    )
    steps = r.choice(
        [
            f"Let \\( x \\) be the number of {thing}. Then\n\\[ {k}x + {d} = {total} \\]\n\\[ {k}x = {total - d} \\]\n\\[ x = "
            f"\\frac{{{total - d}}}{{{k}}} = {x} \\]\n\n",
            f"Let $n$ be the number. We get $${k}n + {d} = {total}$$ so $${k}n = {total - d}$$ and $n = {x}$. ",
            f"Define $c$ as the number of {thing}.\n\n$$\n\\begin{{align*}}\n{k}c + {d} &= {total} \\\\\n{k}c &= {total - d}"
            f" \\\\\nc &= {x}\n\\end{{align*}}\n$$\n\n",
        ]
    )
    end = r.choice(
        [
            f"{name} has {x} {thing}.",
            f"So there are \\( {x} \\) {thing}.",
            f"Therefore, {name} has ${x}$ {thing}.",
            f"Hence {x} {thing}.",
        ]
    )
    return question, steps + end, str(x)


def unknowns(r: random.Random) -> Worked:
    one, two = r.sample(NAMES, 2)
    b, k, years = r.randint(5, 20), r.randint(2, 4), r.randint(2, 9)
    a = k * b
    left, right = one[0], two[0] if two[0] != one[0] else "Y"
    question = (
        f"{one} is {k} times as old as {two}. In {years} years the sum of their ages will be {a + b + 2 * years}. "
        f"How old is {one} now?"
    )
    steps = r.choice(
        [
            f"Let {left} be {one}'s age and {right} be {two}'s age. Then {left} = {k}{right} and {left} + {right} + {2 * years} = "
            f"{a + b + 2 * years}. So {k}{right} + {right} = {a + b}, {k + 1}{right} = {a + b}, {right} = {b}. {left} = {k}{right}, {left} = {a}.",
            f"{left} = {k}{right}\n({left} + {years}) + ({right} + {years}) = {a + b + 2 * years}\nSubstituting, {k + 1}{right} = {a + b}, so "
            f"{right} = {b}.\nThen {left} = {k} * {b} = {a}.",
        ]
    )
    end = r.choice(
        [
            f"{one} is currently {a} years old.",
            f"{one} is {a} years old.",
            f"So {one} is {a} years old now and {two} is {b}.",
        ]
        + [f"Therefore, {one} is {a}.", f"That makes {one} {a} years old."]
    )
    return question, f"{steps} {end}", str(a)


def shares(r: random.Random) -> Worked:
    whole = r.choice([20, 40, 50, 80, 200])
    percent = r.choice([5, 10, 15, 20, 25, 30, 40, 45, 60, 75])
    part = whole * percent // 100
    question = f"{part} of {whole} students play chess. What percentage of the students play chess?"
    share = whole * percent / 100
    steps = f"{share:g} students out of {whole} play chess, so the share is {share:g}/{whole} = {share / whole:g}."
    question = question.replace(str(part) + " of", f"{share:g} of", 1)
    end = r.choice(
        [
            f"{share / whole:g} * 100 = {percent}. So {percent}% of the students play chess.",
            f"That is {percent}% of the students.",
        ]
        + [
            f"As a percentage, that is {share / whole:g} x 100% = {percent}%.",
            f"{percent} percent of them play chess.",
        ]
    )
    return question, f"{steps} {end}", f"{percent}%"


def discount(r: random.Random) -> Worked:
    price, percent = r.choice([40, 60, 80, 120, 200]), r.choice([10, 20, 25, 30, 50])
    off = price * percent / 100
    final = price - off
    question = f"A coat costs ${price}. It is on sale for {percent}% off. How much does it cost now?"
    end = r.choice(
        [
            f"The coat now costs ${final:g}.",
            f"So you pay ${price} - ${off:g} = ${final:g} for the coat.",
            f"It now costs ${final:.2f}.",
        ]
        + [
            f"The sale price of the coat, after {percent}% off, is ${final:g}.",
            f"You would pay ${final:g} after the {percent}% discount.",
        ]
    )
    return (
        question,
        f"The discount is {percent}% of ${price}, which is {percent / 100:g} x {price} = ${off:g}. {end}",
        f"{final:g}",
    )


def cents(r: random.Random) -> Worked:
    each, n = r.choice([5, 10, 15, 20, 25]), r.randint(2, 9)
    if r.random() < 0.5:
        question = f"{n} cups of syrup cost ${each * n / 100:.2f} in all. How many cents is one cup?"
        end = r.choice(
            [
                f"${each / 100:.2f} per cup is {each} cents per cup.",
                f"So one cup is {each} cents.",
                f"${each / 100:.2f} = {each} cents.",
            ]
        )
        return question, f"${each * n / 100:.2f} / {n} = ${each / 100:.2f}. {end}", f"{each} cents"
    question = f"A stamp costs {each} cents. How many dollars do {n * 20} stamps cost?"
    total = each * n * 20
    end = r.choice(
        [
            f"{total} cents is ${total / 100:.2f}.",
            f"Since 100 cents make a dollar, that is {total}/100 = ${total / 100:g}.",
        ]
        + [f"They cost {total / 100:g} dollars.", f"The stamps cost ${total / 100:.2f} in total."]
    )
    return (
        question,
        f"{n * 20} stamps at {each} cents each cost {n * 20} * {each} = {total} cents. {end}",
        f"${total / 100:g}",
    )


def times(r: random.Random) -> Worked:
    hour, minutes, length = r.randint(1, 9), r.choice([0, 5, 10, 15, 30]), r.choice([20, 45, 75, 90, 100])
    total = hour * 60 + minutes + length
    shown, half = f"{total // 60}:{total % 60:02}", r.choice(["PM", "p.m.", "pm"])
    question = (
        f"A film starts at {hour}:{minutes:02} {half} and lasts {length} minutes. At what time does it end?"
    )
    end = r.choice(
        [
            f"The film ends at {shown} {half}.",
            f"So it ends at {shown} {half}.",
            f"{hour}:{minutes:02} plus {length} minutes is {shown} {half}.",
        ]
    )
    return (
        question,
        f"{length} minutes is {length // 60} hours and {length % 60} minutes. {end}",
        f"{shown} PM",
    )


def ordinals(r: random.Random) -> Worked:
    name, start, up, down = r.choice(NAMES), r.randint(1, 6), r.randint(5, 15), r.randint(1, 4)
    floor = start + up - down
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(floor % 10 if floor % 100 not in (11, 12, 13) else 0, "th")
    question = f"{name} is on floor {start}, goes up {up} floors and then down {down}. {r.choice(['What floor is', 'Which floor is'])} {name} on now?"
    end = r.choice(
        [
            f"{name} is now on the {floor}{suffix} floor.",
            f"So {name} ends up on the {floor}{suffix} floor.",
            f"{name} is on floor {floor}.",
        ]
    )
    return (
        question,
        f"After going up: {start} + {up} = {start + up}. After going down: {start + up} - {down} = {floor}. {end}",
        str(floor),
    )


def speed(r: random.Random) -> Worked:
    hours, v = r.randint(2, 6), r.choice([30, 45, 50, 60, 75])
    question = f"A car drives {hours * v} miles in {hours} hours. What is the average speed of the car?"
    end = r.choice(
        [
            f"The car's average speed during this trip is {v} mph.",
            f"The car travels at {v} miles per hour.",
            f"So the average speed is {v} miles/hour.",
        ]
        + [f"Its average speed over the {hours} hours was {v} mph."]
    )
    return (
        question,
        f"Average speed = distance / time\nAverage speed = {hours * v} miles / {hours} hours = {v} mph. {end}",
        str(v),
    )


def difference(r: random.Random) -> Worked:
    a, b = r.randint(50, 900) * 1000, r.randint(5, 40) * 1000
    question = f"A mill had ${a:,} and paid ${b:,} for broken machines. How much was paid for sound machines?"
    c = f"{a - b:,}" if r.random() < 0.5 else f"{a - b}"
    a_, b_ = (f"{a:,}", f"{b:,}") if "," in c else (f"{a}", f"{b}")
    reply = r.choice(
        [
            f"To find it, subtract: ${a_} - ${b_} = ${c}. Therefore, the total amount paid for sound machines is ${c}."
        ]
        + [f"${a_} - ${b_} = ${c}, so the total amount paid for sound machines is ${c}."]
        + [
            f"The amount paid for sound machines is ${a_} - ${b_} = ${c}",
            f"They spent ${c} for sound machines (${a_} less ${b_}).",
        ]
    )
    return question, reply, str(a - b)


def checked(r: random.Random) -> Worked:
    name, thing, each, boxes, gone = (
        r.choice(NAMES),
        r.choice(THINGS),
        r.randint(3, 12),
        r.randint(3, 9),
        r.randint(1, 8),
    )
    left = each * boxes - gone
    question = f"{name} has {boxes} boxes of {each} {thing} and gives away {gone}. How many {thing} are left?"
    steps = f"{boxes} x {each} = {each * boxes}, and {each * boxes} - {gone} = {left}. {name} has {left} {thing} left."
    check = r.choice(
        [
            f"Check: {left} + {gone} = {each * boxes}, and {each * boxes} / {boxes} = {each}. ✓",
            f"To verify: {left} + {gone} = {left + gone}.",
        ]
        + [
            f"We can check this: {left} + {gone} is {each * boxes}, which is {boxes} times {each}.",
            f"Let's double-check: {each} * {boxes} = {each * boxes}. Correct!",
        ]
        + [f"Verification:\n- {left} + {gone} = {left + gone}\n- {left + gone} = {boxes} x {each}"]
    )
    return question, f"{steps}\n\n{check}", str(left)


def alternative(r: random.Random) -> Worked:
    a, b, c = r.randint(3, 12), r.randint(3, 12), r.randint(2, 9)
    total = (a + b) * c
    question = f"Each of {c} bags holds {a} nuts and {b} dates. How many pieces are there in all?"
    steps = f"One bag holds {a} + {b} = {a + b} pieces. {c} bags hold {c} x {a + b} = {total} pieces. There are {total} pieces in all."
    other = r.choice(
        [
            f"Alternatively, there are {a * c} nuts and {b * c} dates, and {a * c} + {b * c} = {total}.",
            f"Another way: {a}*{c} + {b}*{c} = {total}.",
        ]
        + [
            f"Alternatively, one could count the nuts first: {a} * {c} = {a * c}.",
            f"(You could also add {a * c} nuts and {b * c} dates.)",
        ]
    )
    return question, f"{steps}\n\n{other}", str(total)


def lists_of_steps(r: random.Random) -> Worked:
    name, eggs, eaten, price = r.choice(NAMES), r.randint(12, 30), r.randint(2, 9), r.randint(2, 5)
    money = (eggs - eaten) * price
    question = f"{name}'s ducks lay {eggs} eggs a day. {eaten} are eaten and the rest is sold for ${price} each. How much does {name} make a day?"
    style = r.choice(
        [
            "1. {}\n2. {}\n3. {}",
            "Step 1: {}\nStep 2: {}\nStep 3: {}",
            "- {}\n- {}\n- {}",
            "**First**, {}\n\n**Then** {}\n\n**Finally** {}",
        ]
    )
    steps = style.format(
        f"Eggs laid: {eggs}",
        f"Eggs left: {eggs} - {eaten} = {eggs - eaten}",
        f"Money: {eggs - eaten} * ${price} = ${money}",
    )
    end = r.choice(
        [
            "",
            f"\n\n{name} makes ${money} every day by selling {eggs - eaten} eggs at ${price} each.",
            f"\n\nSo {name} makes ${money} a day.",
        ]
        + [
            f"\n\n### Conclusion\n{name} makes **${money}** per day.",
            f"\n\nIn total, that's {money} dollars a day from {eggs - eaten} eggs.",
        ]
        + [f"\n\nThis means that {name} makes ${money} every day. I hope this helps!"]
    )
    return question, steps + end, str(money)


def longer(r: random.Random) -> Worked:
    first, per, days = r.randint(10, 40), r.randint(2, 9), r.randint(3, 12)
    total = first + per * days
    question = f"A plant is {first} cm tall and grows {per} cm a day. How tall is it after {days} days?"
    end = r.choice(
        [
            f"After {days} days the plant is {total} cm tall.",
            f"The plant will be {total} cm tall after {days} days.",
            f"So after {days} days it will reach {total} cm.",
        ]
        + [
            f"Hence, at the end of day {days}, its height is {total} centimeters.",
            f"It is {total} cm tall after {days} days of growing {per} cm a day.",
        ]
    )
    return (
        question,
        f"It grows {per} * {days} = {per * days} cm in {days} days. Adding to the first {first} cm: {first} + {per * days} = {total} cm.\n{end}",
        f"{total} cm",
    )


def fractions(r: random.Random) -> Worked:
    name, bottom = r.choice(NAMES), r.choice([4, 5, 6, 8, 10])
    eaten = r.randint(1, bottom - 1)
    question = f"{name} eats {eaten}/{bottom} of a cake. What fraction of the cake is left?"
    end = r.choice(
        [
            f"So {bottom - eaten}/{bottom} of the cake is left.",
            f"{bottom - eaten}/{bottom} of the cake remains.",
            f"The fraction left is \\frac{{{bottom - eaten}}}{{{bottom}}}.",
        ]
    )
    return (
        question,
        f"The whole cake is {bottom}/{bottom}. {bottom}/{bottom} - {eaten}/{bottom} = {bottom - eaten}/{bottom}. {end}",
        f"{bottom - eaten}/{bottom}",
    )


def spelled(r: random.Random) -> Worked:
    words = (
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    )
    name, thing, n, k = r.choice(NAMES), r.choice(THINGS), r.randint(2, 12), r.randint(20, 40)
    question = f"{name} had {k} {thing} and lost {k - n}. How many {thing} does {name} have left?"
    return question, f"Starting with {k} and losing {k - n}, {name} has {words[n]} {thing} left.", str(n)


def sums(r: random.Random) -> Worked:
    one, two = r.sample(NAMES, 2)
    h = r.randint(2, 90) * 100
    question = (
        f"{one} has 10 times as much as {two}. Together they have ${11 * h:,}. How much does {two} have?"
    )
    left = two[0]
    reply = (
        f"Let {left} be what {two} has. Then {one} has 10{left}.\n{left} + 10{left} = {11 * h:,}\n11{left} = {11 * h:,}\n{left} = {h:,}\n"
        + r.choice(
            [
                f"{two} has ${h:,}.",
                f"So {two} has {h:,} dollars.",
                f"Therefore, {two} has ${h:,}, and {one} has ${10 * h:,}.",
            ]
        )
    )
    return question, reply, str(h)


def remarks(r: random.Random) -> Worked:
    name, hours, pay = r.choice(NAMES), r.randint(3, 9), r.randint(8, 30)
    question = f"{name} works {hours} hours for ${pay} an hour. How much does {name} earn?"
    end = r.choice(
        [
            "Let me know if you need anything else!",
            "I hope this helps!",
            "Note that taxes are not included.",
            "That is the amount before taxes.",
        ]
    )
    return (
        question,
        f"{name} earns {hours} x ${pay} = ${hours * pay}. So {name} earns ${hours * pay}. {end}",
        str(hours * pay),
    )


def compound(r: random.Random) -> Worked:
    rides, each = r.randint(3, 9), r.choice([25, 35, 40, 50])
    total = rides * each
    question = f"A ride takes {each} minutes. How many minutes do {rides} rides take?"
    end = r.choice(
        [
            f"The rides take {total} minutes.",
            f"They take {total} minutes, or {total / 60:.2f} hours.",
            f"That is {total} minutes ({total // 60} hours and {total % 60} minutes).",
        ]
        + [f"So {rides} rides take {total} minutes."]
    )
    return question, f"{rides} * {each} = {total}. {end}", f"{total} minutes"


KINDS: dict[str, Callable[[random.Random], Worked]] = {
    "algebra": algebra,
    "algebra in LaTeX": algebra_latex,
    "several unknowns": unknowns,
    "percentages": shares,
    "discounts": discount,
    "cents and dollars": cents,
    "times": times,
    "ordinals": ordinals,
    "rates": speed,
    "differences": difference,
    "a check at the end": checked,
    "an alternative at the end": alternative,
    "lists of steps": lists_of_steps,
    "given numbers after the result": longer,
    "fractions": fractions,
    "numbers in words": spelled,
    "sums of unknowns": sums,
    "remarks at the end": remarks,
    "two units": compound,
}


def cases(n: int = 25, seed: int = 0) -> Iterator[Case]:
    """`n` solutions of every kind."""
    for kind, write in KINDS.items():
        rng = random.Random(f"{seed}{kind}")
        for _ in range(n):
            yield Case(kind, *write(rng))
