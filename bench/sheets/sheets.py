#!/usr/bin/env python3
"""The published result sheets beside Nibble; sheets.sh calls this.

  speed    models of the published shapes with random weights, every published line on them
  quality  a small real model in every recipe: perplexity by length, distance from the original
  page     docs/sheets.md, from what was measured
"""
import argparse
import csv
import datetime
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from page import make_page
from shapes import CONFIGS, NAMES, TOKENIZERS

HERE = Path(__file__).parent
FLAGS = ["--flash_attention_plus", "--fast_attention", "--fast_mlp", "--fast_norm",
         "--fast_decoder"]
FAST = FLAGS[1:]
ROUNDS_OF_FLAGS = 2
FLAGS_ON = ("Llama-3.2-1B", "pergrp-g128")
SEQLENS = "16,96,192,256,512,768,1024,1536,2048"
MMLU_LIMIT = 30


def published():
    """The tables of the sheets: (key, rows), in their order."""
    tables = {}
    with open(HERE / "published.csv", newline="") as file:
        for row in csv.DictReader(file):
            tables.setdefault((row["sheet"], int(row["table"])), []).append(row)
    return list(tables.values())


def line_of(table):
    """What Nibble runs for a published table: command, recipe of the weights, flags."""
    row = table[0]
    flags = ["--flash_attention_plus"] if row["fa"] == "1" else FAST if row["fast"] == "1" else []
    if row["algorithm"] == "smoothquant":
        return {"model": row["model"], "command": "run_smoothquant", "recipe": row["precision"],
                "task": row["task"], "flags": flags}
    return {"model": row["model"], "command": "run_awq", "task": row["task"], "flags": flags,
            "recipe": f"{row['algorithm']}-g{row['group']}"}


def init_arguments(recipe):
    """How `nibble init` makes weights as a recipe leaves them: which layers are packed, and how."""
    if recipe.startswith("w8"):
        return ["--precision", recipe, "--head", "bf16"]
    algorithm, group = recipe.rsplit("-g", 1)
    head = {"pergrp": [], "awq": ["--head", "bf16"],
            "awqplus": ["--head-group-size", "32"]}[algorithm]
    return ["--precision", "w4abf16", "--group-size", group, *head]


class OutOfTime(Exception):
    """No more measurements are to begin."""


class Bench:
    def __init__(self, nibble, work, minutes):
        self.end = time.monotonic() + 60 * minutes if minutes else None
        self.nibble = str(Path(nibble).resolve())
        self.work = Path(work).resolve()
        self.results = self.work / "results"
        self.results.mkdir(parents=True, exist_ok=True)

    def run(self, arguments):
        """A command's JSON."""
        print("nibble", shlex.join(arguments), file=sys.stderr, flush=True)
        done = subprocess.run([self.nibble, *arguments, "--json"], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"sheets: nibble {shlex.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def is_kept(self, name):
        return (self.results / f"{name}.json").exists()

    def keep(self, name, arguments, line):
        """Runs a command once, and keeps its result with the line that a user would type."""
        if self.is_kept(name):
            return
        if self.end and time.monotonic() > self.end:
            raise OutOfTime
        result = self.run(arguments)
        result["line"] = line
        result["date"] = datetime.date.today().isoformat()
        file = self.results / f"{name}.json"
        file.with_suffix(".part").write_text(json.dumps(result, indent=1))
        os.replace(file.with_suffix(".part"), file)


def result_name(line):
    """The same for all published tables of one command line, whatever their device."""
    flags = "".join("-" + flag.strip("-") for flag in line["flags"])
    return f"{line['model']}-{line['recipe']}-{line['task']}{flags}"


def task_arguments(line, model, table):
    """The command for a table. The published `benchmark` of Qwen has lengths of its own."""
    if line["task"] == "benchmark" and len(table) > 7:
        lengths = ",".join(row["prompt"] for row in table)
        return ["bench", str(model), "--task", "benchmark", "--lengths", lengths]
    return [line["command"], "--model_name", str(model), "--task", line["task"],
            *recipe_flags(table[0]), *line["flags"]]


def recipe_flags(row):
    """The flags that name a recipe, but for those that say the default."""
    if row["algorithm"] == "smoothquant":
        return ["--precision", "w8a16"] if row["precision"] == "w8a16" else []
    algorithm = ["--algorithm", row["algorithm"]] if row["algorithm"] != "awq" else []
    return algorithm + (["--group_size", row["group"]] if row["group"] != "128" else [])


def typed(arguments, model, name):
    return "nibble " + shlex.join(name if word == str(model) else word for word in arguments)


def make_model(bench, name, recipe, tokenizers):
    """A model of a shape with random weights."""
    config = bench.work / "configs" / name
    config.mkdir(parents=True, exist_ok=True)
    (config / "config.json").write_text(json.dumps(CONFIGS[name], indent=1))
    for file in (Path(tokenizers) / TOKENIZERS[name]).iterdir():
        if file.name != "config.json":
            shutil.copyfile(file, config / file.name)
    model = bench.work / "models" / f"{name}-{recipe}"
    model.parent.mkdir(exist_ok=True)
    bench.run(["init", str(config), "-o", str(model), "--force", *init_arguments(recipe)])
    return model


def measure_flags(bench, model):
    """What each flag brings, on the 1B shape: all off, each alone, all on, in turn."""
    sets = {"none": [], **{flag: [flag] for flag in FLAGS}, "all": FLAGS}
    for turn in range(ROUNDS_OF_FLAGS):
        for name, flags in sets.items():
            arguments = ["run_awq", "--model_name", str(model), "--task", "benchmark_exact",
                         "--algorithm", "pergrp", *flags]
            bench.keep(f"flags-{name.strip('-')}-{turn}", arguments,
                       typed(arguments, model, NAMES["Llama-3.2-1B"]))


def speed(bench, models, tokenizers):
    """`models`: names, each with ":recipe" behind it for one of its recipes only."""
    wanted = [(*word.split(":"), None)[:2] for word in models.split()]
    tables = [(line_of(table), table) for table in published()]
    made = list(dict.fromkeys((line["model"], line["recipe"]) for line, _ in tables))
    if models == "all":
        wanted = [(name, None) for name in CONFIGS]
    for name, recipe in wanted:
        if not any(name == one and recipe in (None, other) for one, other in made):
            there = ", ".join(f"{one}:{other}" for one, other in made)
            sys.exit(f"sheets: no model {name}{':' + recipe if recipe else ''}: there are {there}")
    bench.keep("machine", ["info", "--measure"], "nibble info --measure")
    for name, only in wanted:
        for recipe in [other for one, other in made if one == name and only in (None, other)]:
            of_recipe = [(line, table) for line, table in tables
                         if line["model"] == name and line["recipe"] == recipe]
            measure_recipe(bench, name, recipe, of_recipe, tokenizers)


def measure_recipe(bench, name, recipe, tables, tokenizers):
    own = f"{name}-{recipe}-bench"
    has_flags = (name, recipe) == FLAGS_ON
    names = [own, *(result_name(line) for line, _ in tables)]
    if has_flags:
        names.append(f"flags-all-{ROUNDS_OF_FLAGS - 1}")
    if all(bench.is_kept(one) for one in names):
        return
    model = make_model(bench, name, recipe, tokenizers)
    try:
        arguments = ["bench", str(model), "-p", "512", "-n", "64", "-r", "3", "-c", "2048"]
        bench.keep(own, arguments, typed(arguments, model, NAMES[name]))
        for line, table in tables:
            arguments = task_arguments(line, model, table)
            bench.keep(result_name(line), arguments, typed(arguments, model, NAMES[name]))
        if has_flags:
            measure_flags(bench, model)
    finally:
        shutil.rmtree(model)


# Recipes of the quality table: `nibble quantize`'s flags.
RECIPES = {
    "pergrp w4 g32": ["--group-size", "32"],
    "pergrp w4 g128": [],
    "awq w4 g128": ["--algorithm", "awq"],
    "awqplus w4 g128": ["--algorithm", "awqplus"],
    "gptq w4 g128": ["--algorithm", "gptq"],
    "best w4 g128": ["--algorithm", "best"],
    "pergrp w3 g128": ["--w-bit", "3"],
    "awq w3 g128": ["--w-bit", "3", "--algorithm", "awq"],
    "best w3 g128": ["--w-bit", "3", "--algorithm", "best"],
    "smoothquant w8a8": ["--algorithm", "smoothquant", "--precision", "w8a8"],
    "smoothquant w8a16": ["--algorithm", "smoothquant", "--precision", "w8a16"],
}


def calibration_text():
    data = Path(os.environ.get("NIBBLE_DATA", "."))
    found = sorted(data.glob("**/wiki.train*.raw"))
    if not found:
        sys.exit("sheets: no wiki.train*.raw under $NIBBLE_DATA to calibrate on")
    return found[-1]


def measure_quality(bench, name, model, original, segments):
    """Perplexity by length, distance from the original, MMLU's questions."""
    file = name.replace(" ", "-")
    evaluate = ["eval", str(model)]
    bench.keep(f"quality-{file}-lengths", [*evaluate, "--seqlens", SEQLENS, "--n-segments",
                                          str(segments)], "")
    bench.keep(f"quality-{file}-distance", [*evaluate, "--seqlen", "512", "--n-segments",
                                           str(10 * segments), "--reference", str(original)], "")
    if (Path(os.environ.get("NIBBLE_DATA", ".")) / "mmlu").is_dir():
        bench.keep(f"quality-{file}-mmlu", [*evaluate, "--task", "mmlu", "--style", "base",
                                           "--limit", str(MMLU_LIMIT)], "")


def quality(bench, model, segments):
    original = Path(model).resolve()
    measure_quality(bench, "bf16", original, original, segments)
    for name, flags in RECIPES.items():
        file = name.replace(" ", "-")
        kept = [f"quality-{file}-{what}" for what in ("quantize", "lengths", "distance", "mmlu")]
        if all(bench.is_kept(one) for one in kept):
            continue
        folder = bench.work / "models" / f"quality-{file}"
        folder.parent.mkdir(exist_ok=True)
        calibration = []
        if "--algorithm" in flags:
            calibration = ["--calib", str(calibration_text()), "--n-samples", "32"]
        arguments = ["quantize", str(original), "-o", str(folder), *flags, *calibration]
        if not folder.exists():
            (bench.results / f"quality-{file}-quantize.json").unlink(missing_ok=True)
            bench.keep(f"quality-{file}-quantize", arguments, "")
        measure_quality(bench, name, folder, original, segments)
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nibble", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--minutes", type=float, help="begin nothing after so many")
    commands = parser.add_subparsers(dest="command", required=True)
    measured = commands.add_parser("speed")
    measured.add_argument("--tokenizers", required=True)
    measured.add_argument("--models", default="all")
    measured = commands.add_parser("quality")
    measured.add_argument("--model", required=True)
    measured.add_argument("--segments", type=int, default=4)
    measured = commands.add_parser("page")
    measured.add_argument("--output", required=True)
    options = parser.parse_args()
    bench = Bench(options.nibble, options.work, options.minutes)
    try:
        if options.command == "speed":
            speed(bench, options.models, options.tokenizers)
        elif options.command == "quality":
            quality(bench, options.model, options.segments)
    except OutOfTime:
        print("sheets: time is up; the same command goes on from here", file=sys.stderr)
    if options.command == "page":
        tables = [(line_of(table), table) for table in published()]
        text = make_page(bench.results, tables, result_name, list(RECIPES), FLAGS)
        Path(options.output).write_text(text)


main()
