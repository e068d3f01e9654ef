"""docs/sheets.md, from the published tables and the results that sheets.py keeps."""
import csv
import json
import statistics
from pathlib import Path

HERE = Path(__file__).parent
TITLES = {"000": "Llama-3.2-1B", "001": "Meta-Llama-3.1-8B", "002": "llama-2-7b",
          "003": "opt-6.7b", "004": "Qwen1.5-7B"}
DEVICES = {"?": "PHX"}  # the sheet does not say; the figures are PHX's

INTRO = """# The published result sheets beside Nibble

Made by `bench/sheets.sh` ({dates}): every table of the result sheets of Ryzen AI's transformers
(NPUs of Phoenix, Hawk Point and Strix Point: PHX, HPT, STX) beside what the same line gives here.
{machine}

Speed is that of models of the published shapes with random weights, which cost what trained ones
cost. *Ratio* is the published time over Nibble's: above 1 Nibble is the faster. *Limit* is what this
machine could do at most: for a token, reading the weights at the bandwidth measured before and after
each row; for a prompt, its products at the measured peak of the multiply instruction, or one reading
of the weights if that is longer. A share above 100 % is a bandwidth that rose between two readings.
The published lines run as they are typed: without flags, with operators one by one.
"""


def table(titles, rows, left=1):
    """Markdown; the first columns to the left."""
    lines = [titles, ["---"] * left + ["---:"] * (len(titles) - left), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def number(value, digits=3):
    """A figure with about that many digits that say something."""
    if value is None:
        return "-"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}" if value < 1 else f"{value:.{max(0, digits - len(str(int(value))))}f}"


class Results:
    def __init__(self, folder):
        self.folder = folder

    def get(self, name):
        file = self.folder / f"{name}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def dates(self):
        found = sorted({json.loads(file.read_text())["date"] for file in self.folder.glob("*.json")})
        return found[0] if found[:1] == found[-1:] else f"{found[0]} to {found[-1]}"


def machine_text(results):
    info = results.get("machine")
    if info is None:
        return ""
    return (f"This machine: {info['cpu']['model']}, {info['threads']} threads, "
            f"{info['kernels']['chosen']} kernels.")


def matched(published, own):
    """Pairs of rows: by place where there are as many, else by the prompt's length."""
    if len(published) == len(own):
        return list(zip(published, own))
    by_length = {row["prompt_tokens"]: row for row in own}
    lengths = [int(row["prompt"]) for row in published]
    return [(row, by_length[length]) for row, length in zip(published, lengths)
            if length in by_length]


class Speed:
    """Tables of one model, and what they say together."""

    def __init__(self, results):
        self.results = results
        self.slower = []  # rows in which the published figure is better
        self.summary = []

    def limits(self, line):
        """Tokens a second that `nibble bench` gives as the limits of prompts and tokens."""
        own = self.results.get(f"{line['model']}-{line['recipe']}-bench")
        tests = {result["test"][:2]: result for result in own["results"]}
        return tests["pp"], tests["tg"]

    def compare(self, line, published, result):
        prompt_test, _ = self.limits(line)
        rows, ratios = [], {"prefill": [], "token": []}
        for theirs, ours in matched(published, result["rows"]):
            length = ours["prompt_tokens"]
            same = int(theirs["prompt"]) == length
            token_limit = 1000 / ours["limit"]
            prefill_limit = max(1000 * length / prompt_test["limit"], token_limit)
            prefill, token = float(theirs["prefill_ms"]), float(theirs["token_ms"])
            ratio = {"prefill": prefill / ours["prefill_ms"],
                     "token": token / ours["ms_per_token"] if ours["ms_per_token"] else None}
            rows.append([theirs["row"], str(length) if same else f"{theirs['prompt']} / {length}",
                         number(prefill), number(ours["prefill_ms"]), number(ratio["prefill"]),
                         number(prefill_limit), number(100 * prefill_limit / ours["prefill_ms"]),
                         number(token), number(ours["ms_per_token"]), number(ratio["token"]),
                         number(token_limit),
                         number(100 * token_limit / ours["ms_per_token"]
                                if ours["ms_per_token"] else None)])
            limits = {"prefill": prefill_limit, "token": token_limit}
            for what, best in (("prefill", prefill), ("token", token)):
                if ratio[what] is None:
                    continue
                ratios[what].append(ratio[what])
                if ratio[what] < 1:
                    self.slower.append((published[0], theirs, what, best, ours, limits[what]))
        self.summary.append((published, line, ratios))
        return rows

    def section(self, published, line, result):
        first = published[0]
        device = DEVICES.get(first["device"], first["device"])
        text = f"**{device}**: `{result['line']}`\n\n"
        rows = self.compare(line, published, result)
        text += table(["#", "prompt", "prefill (ms), published", "Nibble", "ratio", "limit",
                       "% of limit", "ms/token, published", "Nibble", "ratio", "limit",
                       "% of limit"], rows)
        theirs = {row["new_tokens"] for row in published}
        ours = {str(row["new_tokens"]) for row in result["rows"]}
        if theirs != ours:
            text += f"\nNew tokens: {', '.join(sorted(theirs))} there, {', '.join(sorted(ours))} here.\n"
        return text + "\n"

    def bench_table(self, model, recipes):
        rows = []
        for recipe in recipes:
            own = self.results.get(f"{model}-{recipe}-bench")
            if own is None:
                continue
            for result in own["results"]:
                if result.get("kept") == 0:  # of a machine whose bandwidth does not hold still
                    continue
                speed = result["tokens_per_second"]["median"]
                rows.append([f"{recipe}, {result['test']}", number(own["bits_per_weight"], 4),
                             number(speed, 4), number(result["limit"], 4),
                             number(result["percent_of_limit"])])
        return table(["weights, test", "bits a weight", "tokens/s", "limit", "% of limit"], rows)


def speed_text(speed, tables, result_name):
    parts = []
    for sheet, title in TITLES.items():
        own = [(line, published) for line, published in tables if published[0]["sheet"] == sheet]
        measured = [(line, published, speed.results.get(result_name(line)))
                    for line, published in own]
        if not any(result for _, _, result in measured):
            continue
        recipes = list(dict.fromkeys(line["recipe"] for line, _ in own))
        parts.append(f"### {title}\n\nEverything in one (`nibble bench -p 512 -n 64`):\n\n"
                     + speed.bench_table(own[0][0]["model"], recipes))
        for line, published, result in measured:
            if result:
                parts.append(speed.section(published, line, result))
    return "\n".join(parts)


def summary_text(speed):
    rows = []
    for published, line, ratios in speed.summary:
        first = published[0]
        flags = " ".join(line["flags"]) or "no flags"

        def spread(values):
            return f"{number(min(values))} - {number(max(values))}" if values else "-"
        rows.append([first["model"], DEVICES.get(first["device"], first["device"]),
                     line["recipe"], first["task"], flags.replace("--", ""),
                     spread(ratios["prefill"]), spread(ratios["token"])])
    text = "Ratios over the rows of each table, least and greatest:\n\n"
    text += table(["model", "device", "weights", "task", "flags", "prefill", "time/token"], rows, left=5)
    if not speed.slower:
        return text + "\nEvery published row is passed.\n"
    rows = []
    for first, theirs, what, best, ours, limit in speed.slower:
        mine = ours["prefill_ms"] if what == "prefill" else ours["ms_per_token"]
        why = "this machine's limit is above it" if limit > best else "within this machine's limit"
        rows.append([first["model"], DEVICES.get(first["device"], first["device"]), first["task"],
                     theirs["prompt"], what, number(best), number(mine), number(limit), why])
    return (text + f"\nNot passed, {len(rows)} figures:\n\n"
            + table(["model", "device", "task", "prompt", "figure", "published (ms)", "Nibble",
                     "limit", "why"], rows, left=3))


def flags_text(results, flags):
    runs = {}
    for name in ["none", *(flag.strip("-") for flag in flags), "all"]:
        found = [results.get(f"flags-{name}-{turn}") for turn in range(9)]
        runs[name] = [result["rows"] for result in found if result]
    if not runs["none"] or not runs["all"]:
        return ""

    def median(name, place, key):
        return statistics.median(rows[place][key] for rows in runs[name])
    places = range(len(runs["none"][0]))
    titles = ["flags", *(f"prefill {runs['none'][0][i]['prompt_tokens']}" for i in places),
              *(f"token at {runs['none'][0][i]['prompt_tokens']}" for i in places)]
    rows = []
    for name, found in runs.items():
        if not found:
            continue
        cells = [name.replace("none", "none: ms").replace("all", "all of them")]
        for key in ("prefill_ms", "ms_per_token"):
            for i in places:
                base = median("none", i, key)
                cells.append(number(base) if name == "none"
                             else f"{base / median(name, i, key):.2f}")
        rows.append(cells)
    return ("## What each flag brings\n\nLlama-3.2-1B's shape at w4 g128, `run_awq --task "
            "benchmark_exact`: milliseconds without any flag, and how many times faster each makes "
            f"it alone (medians of {len(runs['none'])} runs, taken in turn).\n\n" + table(titles, rows) + "\n")


def published_perplexity():
    models = {}
    with open(HERE / "published_perplexity.csv", newline="") as file:
        for row in csv.DictReader(file):
            key = (row["model"], row["segments"])
            models.setdefault(key, {}).setdefault(row["recipe"], {})[int(row["seqlen"])] = (
                float(row["perplexity"]))
    return models


def perplexity_table(columns):
    """A row a length: perplexity, and for all columns but the first its ratio to that."""
    lengths = sorted({length for values in columns.values() for length in values})
    names = list(columns)
    rows = []
    for length in lengths:
        base = columns[names[0]].get(length)
        cells = [str(length)]
        for name in names:
            value = columns[name].get(length)
            shown = "-" if value is None else f"{value:.3f}"
            if value is not None and name != names[0]:
                shown += f" ({value / base:.3f})"
            cells.append(shown)
        rows.append(cells)
    return table(["length", *names], rows)


def quality_text(results, recipes):
    original = results.get("quality-bf16-lengths")
    if original is None:
        return ""
    text = ("## Quality\n\nSmolLM2-135M-Instruct on WikiText-2 (protocol `segments`, the first "
            f"{original['results'][0]['segments']} segments of each length), calibration on 32 blocks "
            "of 512 tokens of its training part. In brackets: over bf16's. Group 128 gives way to 64 "
            "here, as 576 channels are no multiple of it.\n\n")
    columns, rows = {}, []
    for name in ["bf16", *recipes]:
        file = name.replace(" ", "-")
        lengths = results.get(f"quality-{file}-lengths")
        distance = results.get(f"quality-{file}-distance")
        if lengths is None or distance is None:
            continue
        columns[name] = {one["seqlen"]: one["perplexity"] for one in lengths["results"]}
        quantized = results.get(f"quality-{file}-quantize")
        mmlu = results.get(f"quality-{file}-mmlu")
        one = distance["results"][0]
        rows.append([name, number(quantized["bits_per_weight"], 4) if quantized else "16",
                     f"{one['perplexity']:.3f}", f"{one['kl_divergence']:.4f}",
                     f"{100 * one['top1_agreement']:.2f}",
                     f"{100 * mmlu['accuracy']:.2f}" if mmlu else "-",
                     f"{quantized['seconds']:.0f}" if quantized else "-"])
    text += table(["recipe", "bits a weight", "perplexity, 512", "KL divergence (nats)",
                   "same top token (%)", "MMLU, 30 of abstract_algebra (%)", "quantized in (s)"],
                  rows) + "\n"
    names = list(columns)
    for start in range(1, len(names), 4):
        text += perplexity_table({name: columns[name] for name in
                                  ["bf16", *names[start:start + 4]]}) + "\n"
    text += ("### Published\n\nPerplexities of the sheets (weights that are not here), with their "
             "ratio to bf16's: what a recipe costs a model of billions.\n\n")
    for (model, segments), found in published_perplexity().items():
        text += f"{model}, {segments} segments:\n\n" + perplexity_table(found) + "\n"
    return text


def make_page(folder, tables, result_name, recipes, flags):
    results = Results(folder)
    if not any(folder.glob("*.json")):
        raise SystemExit(f"sheets: nothing was measured yet: {folder} has no results")
    speed = Speed(results)
    sections = speed_text(speed, tables, result_name)
    parts = [INTRO.format(dates=results.dates(), machine=machine_text(results))]
    if sections:
        parts += ["## Speed\n", summary_text(speed), sections]
    parts += [flags_text(results, flags), quality_text(results, recipes)]
    return "\n".join(part for part in parts if part).rstrip() + "\n"
