"""Precision and recall of the detection of renames, by runs over tables that evolve.

    python bench/renames.py [--evolutions 1000] [--seed 1] [--real] [--check]

Each evolution is a table that two runs load: the second one has other rows, in another order, and
what happened in between is known. The generator below shares no code with the detector; profiles
are those that the runs themselves keep. With `--real`, fields of recorded rows are renamed instead:
of GitHub's issues and events (github3.py, dlt-hub), of MongoDB's sample collections, and of the
versions of npm packages, fetched by `npm view`.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import string
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
PRECISION, RECALL = 0.95, 0.90
TOGETHER = 50
"""Tables that one run loads."""
FEW = 64
"""Columns of fewer distinct values than this name states, not rows: they are not to be guessed."""

Row = dict[str, Any]
Made = Callable[[random.Random, int], Any]


def _word(dice: random.Random, letters: int = 7) -> str:
    return "".join(dice.choices(string.ascii_lowercase, k=letters))


def _moment(dice: random.Random) -> str:
    return (
        f"20{dice.randint(18, 25)}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
        f"T{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:{dice.randint(0, 59):02}Z"
    )


KINDS: Mapping[str, Made] = {
    "email": lambda dice, n: f"{_word(dice)}{n}@example.org",
    "name": lambda dice, n: f"{_word(dice, 5).title()} {_word(dice).title()}",
    "url": lambda dice, n: f"https://example.org/{_word(dice)}/{n}",
    "uuid": lambda dice, n: f"{dice.getrandbits(128):032x}",
    "phone": lambda dice, n: f"+{dice.randint(1, 99)} {dice.randint(10**7, 10**9)}",
    "price": lambda dice, n: round(dice.random() * 5000, 2),
    "amount": lambda dice, n: dice.randint(1, 10**7),
    "number": lambda dice, n: n + 1,
    "at": lambda dice, n: _moment(dice),
    "day": lambda dice, n: _moment(dice)[:10],
    "text": lambda dice, n: " ".join(_word(dice, dice.randint(2, 9)) for _ in range(12)),
    "city": lambda dice, n: f"City {dice.randint(1, 120)}",
    "state": lambda dice, n: dice.choice(["open", "closed", "draft"]),
    "country": lambda dice, n: dice.choice(["de", "fr", "us", "in", "br", "jp"]),
    "stars": lambda dice, n: dice.randint(0, 9),
    "is_active": lambda dice, n: dice.random() < 0.7,
    "ratio": lambda dice, n: dice.random(),
    "sometimes": lambda dice, n: _word(dice, 12) if dice.random() < 0.4 else None,
    "owner": lambda dice, n: {"login": _word(dice, 9), "rank": dice.randint(1, 10**6)},
    "items": lambda dice, n: [
        {"sku": _word(dice, 10), "count": dice.randint(1, 9)} for _ in range(dice.randint(0, 3))
    ],
    "labels": lambda dice, n: [_word(dice, 8) for _ in range(dice.randint(0, 3))],
}


@dataclass
class Evolution:
    """A table before and after, and what happened.

    Attributes:
        renames: old and new name of each field; `few` of those that name states.
    """

    name: str
    before: list[Row]
    after: list[Row]
    renames: set[tuple[str, str]] = field(default_factory=set)
    few: set[tuple[str, str]] = field(default_factory=set)


def generated(count: int, seed: int) -> Iterator[Evolution]:
    for number in range(count):
        yield _evolution(f"t{number}", random.Random(seed * 1_000_003 + number))


def _evolution(name: str, dice: random.Random) -> Evolution:
    kinds = dice.sample(sorted(KINDS), dice.randint(4, 10))
    fields = {f"{kind}_{_word(dice, 3)}" if dice.random() < 0.5 else kind: kind for kind in kinds}
    size = dice.choice([60, 150, 400])
    rows = [_row(dice, n, fields) for n in range(size)]
    # the next load: most of the rows again, some of them changed, others new, in another order
    kept = dice.sample(rows, int(size * dice.choice([1.0, 0.95, 0.8, 0.65])))
    later = [
        {key: _value(dice, row["id"], fields, key) if dice.random() < 0.02 else value
         for key, value in row.items()}
        for row in kept
    ]  # fmt: skip
    later += [_row(dice, n, fields) for n in range(size, size + int(size * dice.random() * 0.3))]
    dice.shuffle(later)
    found = Evolution(name, rows, later)
    happening = dice.choices(
        ["nothing", "rename", "two renames", "removal", "addition", "swap", "rename and removal",
         "rename and addition", "new type"],
        [15, 30, 10, 10, 10, 10, 5, 5, 5],
    )[0]  # fmt: skip
    free = [*fields]
    dice.shuffle(free)
    for _ in range({"two renames": 2}.get(happening, "rename" in happening or "type" in happening)):
        old = free.pop()
        new = f"{_word(dice, 6)}" if dice.random() < 0.6 else f"{old}_{_word(dice, 2)}"
        _rename(found, fields[old], old, new, as_text=happening == "new type")
    if happening in ("removal", "swap", "rename and removal"):
        gone = free.pop()
        for row in later:
            del row[gone]
    if happening in ("addition", "swap", "rename and addition"):
        kind = dice.choice(sorted(KINDS))
        new = f"{kind}_{_word(dice, 4)}"
        for row in later:
            row[new] = KINDS[kind](dice, row["id"])
    return found


def _row(dice: random.Random, n: int, fields: Mapping[str, str]) -> Row:
    return {"id": n, **{key: KINDS[kind](dice, n) for key, kind in fields.items()}}


def _value(dice: random.Random, n: int, fields: Mapping[str, str], key: str) -> Any:
    return n if key == "id" else KINDS[fields[key]](dice, n)


def _rename(found: Evolution, kind: str, old: str, new: str, *, as_text: bool) -> None:
    for row in found.after:
        value = row.pop(old)
        plain = type(value) in (int, float)
        row[new] = str(value) if as_text and plain else value
    distinct = {json.dumps(leaf) for row in found.before for leaf in _leaves(row[old])}
    few = kind != "sometimes" and len(distinct) < min(FEW, len(found.before) / 2)
    (found.few if few else found.renames).add((old, new))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (leaf for each in value.values() for leaf in _leaves(each))
    elif isinstance(value, list):
        yield from (leaf for each in value for leaf in _leaves(each))
    elif value is not None:
        yield value


def recorded() -> Iterator[Evolution]:
    """Each field of recorded rows renamed by itself; two thirds of a load were loaded before."""
    for name, rows in _recordings():
        quarter = len(rows) // 4
        before, after = rows[: 3 * quarter], rows[quarter:]
        fields = Counter(
            key for row in before for key, value in row.items() if value not in ([], None)
        )
        yield Evolution(f"{name}_as_it_is", before, [dict(row) for row in after])
        for number, (old, seen) in enumerate(sorted(fields.items())):
            if old in ("id", "_id") or seen < 20:
                continue
            evolution = Evolution(f"{name}_{number}", before, [dict(row) for row in after])
            for row in evolution.after:
                if old in row:
                    row["renamed_field"] = row.pop(old)
            distinct = {json.dumps(leaf) for row in before for leaf in _leaves(row.get(old))}
            kept = evolution.few if len(distinct) < min(FEW, seen / 2) else evolution.renames
            kept.add((old, "renamed_field"))
            yield evolution


def _recordings() -> Iterator[tuple[str, list[Row]]]:
    from millstream.demo import recordings

    found = recordings.load(ROOT / ".cache" / "github3.py")
    if found.origin.startswith("real"):
        for stream in ("issues", "pull_requests", "issue_comments", "issue_events"):
            rows = [row for each in found.dataset.values() for row in each.get(stream, [])]
            newest = {
                row["id"]: {k: v for k, v in row.items() if k != "_recorded_at"} for row in rows
            }
            if len(newest) >= 80:
                yield f"github3_{stream}", [*newest.values()]
    for name in ("github_issues_page", "github_issue_events_page"):
        if (file := DATA / f"{name}.json").exists():
            yield name, json.loads(file.read_text())
    for name in ("accounts", "customers", "theaters"):
        if (file := DATA / f"mongodb_{name}.jsonl").exists():
            lines = file.read_text().splitlines()[:400]
            rows = [json.loads(line, object_hook=_plain) for line in lines]
            # as the columns are called
            rows = [{_snake(key): value for key, value in row.items()} for row in rows]
            for row in rows:
                row.pop("tier_and_details", None)  # keys that are data
            yield f"mongodb_{name}", rows
    yield from _npm_histories()


NPM = ("axios", "chalk", "eslint", "express", "mongoose", "next", "react", "typescript", "webpack")
MAPS = re.compile(
    "time|versions|exports|scripts|engines|overrides|.*dependencies.*|.*config.*|jspm|browser|babel"
)
"""Objects whose keys are data."""


def _npm_histories() -> Iterator[tuple[str, list[Row]]]:
    """What the registry says of each version of a package, the oldest first."""
    if shutil.which("npm") is None:
        print("no npm here: its packages' histories are left out", file=sys.stderr)
        return
    for package in NPM:
        command = ["npm", "view", f"{package}@>=0.0.0", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        versions = json.loads(done.stdout)
        if len(versions) < 80:
            continue
        yield (
            f"npm_{package}",
            [
                {
                    _snake(key): value
                    for key, value in row.items()
                    if not MAPS.fullmatch(_snake(key))
                }
                for row in versions[-240:]
            ],
        )


def _snake(key: str) -> str:
    plain = key.replace("-", "_")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in plain)


def _plain(pairs: Row) -> Any:
    ((name, value), *more) = pairs.items() if pairs else [("", None)]
    if more or not name.startswith("$"):
        return pairs
    return int(value) if name in ("$numberInt", "$numberLong") else value


def told(evolutions: Sequence[Evolution], folder: Path) -> dict[str, set[tuple[str, str]]]:
    """What runs over these tables say was renamed, by table."""
    import dlt

    from millstream.config import TargetConfig
    from millstream.runs import runner

    target = TargetConfig.model_validate(
        {
            "name": "evolutions",
            "destination": {"type": "duckdb", "database": "w.duckdb", "dataset": "e"},
            "schema_policy": "anything",
            "project": folder,
        }
    )

    @dlt.source(name="evolutions")
    def source(after: bool) -> Any:
        return [
            dlt.resource(
                each.after if after else each.before, name=each.name, write_disposition="append"
            )
            for each in evolutions
        ]

    runner.run_data(source(False), target, stream="evolutions")
    report = runner.run_data(source(True), target, stream="evolutions")
    found: dict[str, set[tuple[str, str]]] = {each.name: set() for each in evolutions}
    for decision in report.decisions:
        change = decision.change
        if change.kind == "column_renamed":
            below = change.table.partition("__")[2]
            prefix = f"{below}__" if below else ""
            names = (f"{prefix}{change.old}", f"{prefix}{change.new}")
            found[
                change.table.partition("__")[0] if change.table not in found else change.table
            ].add(names)
    return found


def judge(evolutions: Sequence[Evolution]) -> Counter[str]:
    score: Counter[str] = Counter(evolutions=len(evolutions))
    for start in range(0, len(evolutions), TOGETHER):
        part = evolutions[start : start + TOGETHER]
        with tempfile.TemporaryDirectory() as folder:
            found = told(part, Path(folder))
        for each in part:
            said = found[each.name]
            right = said & (each.renames | each.few)
            score["told"] += len(said)
            score["right"] += len(right)
            score["renames"] += len(each.renames)
            score["found"] += len(right & each.renames)
            score["renames of states"] += len(each.few)
            score["found of states"] += len(right & each.few)
            if each.renames - said or said - right:
                print(f"  {each.name}: missed {sorted(each.renames - said)}, "
                      f"wrong {sorted(said - right)}", file=sys.stderr)  # fmt: skip
        print(
            f"{start + len(part)} of {len(evolutions)}: {dict(score)}", file=sys.stderr, flush=True
        )
    return score


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evolutions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    made = recorded() if options.real else generated(options.evolutions, options.seed)
    score = judge([*made])
    precision = score["right"] / max(score["told"], 1)
    recall = score["found"] / max(score["renames"], 1)
    print(f"precision {precision:.3f}, recall {recall:.3f}")
    print(json.dumps({**score, "precision": round(precision, 4), "recall": round(recall, 4)}))
    return int(options.check and (precision < PRECISION or recall < RECALL))


if __name__ == "__main__":
    sys.exit(main())
