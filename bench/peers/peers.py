#!/usr/bin/env python3
"""Nibble beside other engines: models of one shape with random weights, timed in turn.

run.sh calls this; README.md says what is measured. Sub-commands:
  write FORMAT PATH        a model for one engine (in the folder or file PATH)
  time ENGINE MODEL        tokens a second of an engine that has no benchmark of its own, as JSON
  compare                  everything that is to be had, in turn, and the table of ratios
--shape before the sub-command says whose shape the models have.
"""
import argparse
import datetime
import json
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

# Shapes: config.json as their authors publish it (of SmolLM2, the one trained to chat).
CONFIGS = {
    "llama-3.2-1b": {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 128000,
        "eos_token_id": 128001, "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
        "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": False,
        "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                         "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        "rope_theta": 500000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
        "vocab_size": 128256,
    },
    "smollm2-135m": {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 1,
        "eos_token_id": 2, "head_dim": 64, "hidden_act": "silu", "hidden_size": 576,
        "intermediate_size": 1536, "max_position_embeddings": 8192, "mlp_bias": False,
        "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30,
        "num_key_value_heads": 3, "rms_norm_eps": 1e-05, "rope_theta": 100000.0,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "vocab_size": 49152,
    },
}
DEVIATION = 0.02  # of the random weights, as `nibble init` makes them
PROMPT, GENERATE = 512, 64
REPETITIONS = 1  # in a round: the bandwidth does not hold for long
CONTEXT = 16  # tokens before decode, as in `nibble bench`
STEADY = 1.1  # a round counts if the bandwidth before, between and after agrees this well


def w4(group):
    """Nibble's 4 bits in groups of that size, as in NIBBLE."""
    model = (f"nibble-w4-g{group}", ["--precision", "w4abf16", "--group-size", str(group)])
    return {f"w4 g{group}": (*model, []),
            f"w4 g{group}, int8 activations": (*model, ["--activations", "int8"])}


# Nibble's side: its model's folder, arguments of `nibble init`, arguments of `nibble bench`.
NIBBLE = {
    **w4(32), **w4(64), **w4(128),
    "w8a8": ("nibble-w8a8", ["--precision", "w8a8"], ["--activations", "int8"]),
    "w8a16": ("nibble-w8a16", ["--precision", "w8a16"], []),
    "bf16": ("nibble-bf16", ["--precision", "bf16"], []),
}


def largest_group(config):
    """The largest that divides the inputs of every layer: with a larger one NNCF would refuse, and
    Nibble take smaller groups for some layers, so that the table's name were not true."""
    inputs = {cols for _, cols in shapes(config).values()}
    return max(size for size in (32, 64, 128) if all(cols % size == 0 for cols in inputs))


def all_pairs(config):
    """Engine, its model, what that holds, and what of Nibble's it is beside."""
    group = largest_group(config)
    beside = [
        ("llama.cpp", "Q4_0.gguf", "Q4_0, 4.5 bits", [*w4(32), f"w4 g{group}"]),
        ("ik_llama.cpp", "Q4_0.gguf", "Q4_0, 4.5 bits", [*w4(32), *w4(group)]),
        ("llama.cpp", "BF16.gguf", "BF16", ["bf16"]),
        ("llama.cpp", "Q8_0.gguf", "Q8_0, 8.5 bits", ["w8a8"]),
        ("ik_llama.cpp", "Q8_0.gguf", "Q8_0, 8.5 bits", ["w8a8"]),
        ("CTranslate2", "ctranslate2-int8", "int8", ["w8a8"]),
        ("OpenVINO", "openvino-int4", f"int4 g{group}", [*w4(group)]),
        ("OpenVINO", "openvino-int8", "int8", ["w8a8", "w8a16"]),
    ]
    return [(*engine, name) for *engine, names in beside for name in names]


def shapes(config):
    """Names and shapes, (out, in), of a block's linear layers in GGUF's terms."""
    hidden, mlp = config["hidden_size"], config["intermediate_size"]
    kv = config["num_key_value_heads"] * config["head_dim"]
    return {"attn_q": (hidden, hidden), "attn_k": (kv, hidden), "attn_v": (kv, hidden),
            "attn_output": (hidden, hidden), "ffn_gate": (mlp, hidden), "ffn_up": (mlp, hidden),
            "ffn_down": (hidden, mlp)}


# ---- GGUF: llama.cpp and ik_llama.cpp


def random_blocks(generator, rows, cols, kind):
    """Rows of a GGUF tensor, (rows, bytes of a row), whose blocks hold random weights."""
    import numpy as np

    if kind == "BF16":
        weights = generator.standard_normal((rows, cols), dtype=np.float32) * np.float32(DEVIATION)
        return (weights.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    # Blocks of 32: a float16 scale, then 32 codes of 4 or 8 bits.
    code_bytes, scale = {"Q4_0": (16, DEVIATION / 4), "Q8_0": (32, DEVIATION / 64)}[kind]
    blocks = np.empty((rows, cols // 32, 2 + code_bytes), dtype=np.uint8)
    blocks[:, :, :2] = np.frombuffer(np.float16(scale).tobytes(), dtype=np.uint8)
    blocks[:, :, 2:] = generator.integers(0, 256, (rows, cols // 32, code_bytes), dtype=np.uint8)
    return blocks.reshape(rows, -1)


def write_gguf(config, kind, path):
    """All matrices of one type, the tied embedding too; no vocabulary but its size."""
    import gguf
    import numpy as np

    generator = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    norm = np.ones(config["hidden_size"], dtype=np.float32)
    kind_id = gguf.GGMLQuantizationType[kind]

    def add_matrix(name, rows, cols):
        data = random_blocks(generator, rows, cols, kind)
        writer.add_tensor(name + ".weight", data, raw_dtype=kind_id)

    add_matrix("token_embd", config["vocab_size"], config["hidden_size"])
    writer.add_tensor("output_norm.weight", norm)
    for layer in range(config["num_hidden_layers"]):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", norm)
        for name, (rows, cols) in shapes(config).items():
            add_matrix(f"blk.{layer}.{name}", rows, cols)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def time_llama_bench(folder, model, threads):
    command = [folder / "build/bin/llama-bench", "-m", model, "-p", str(PROMPT), "-n",
               str(GENERATE), "-r", str(REPETITIONS), "-t", str(threads), "-o", "json"]
    if folder.name == "ik_llama.cpp":
        command += ["-rtr", "1"]  # weights interleaved for its kernels when they are loaded

    def read(out):
        return {f"pp{PROMPT}" if entry["n_prompt"] else f"tg{GENERATE}":
                statistics.median(entry["samples_ts"])
                for entry in json.loads(out[out.index("["):])}

    return run(command, read)


# ---- CTranslate2


def write_ctranslate2(config, path):
    """By the specification its own converter of Llama models fills, quantized by its own code."""
    import ctranslate2
    import numpy as np
    from ctranslate2.specs import common_spec, transformer_spec

    generator = np.random.default_rng(0)

    def matrix(rows, cols):
        return generator.standard_normal((rows, cols), dtype=np.float32) * np.float32(DEVIATION)

    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        config["num_hidden_layers"], config["num_attention_heads"],
        activation=common_spec.Activation.SWISH, pre_norm=True, ffn_glu=True, rms_norm=True,
        rotary_dim=0, rotary_interleave=False, rotary_base=config["rope_theta"],
        num_heads_kv=config["num_key_value_heads"])
    norm = np.ones(config["hidden_size"], dtype=np.float32)
    decoder, shape = spec.decoder, shapes(config)
    decoder.scale_embeddings = False
    decoder.embeddings.weight = matrix(config["vocab_size"], config["hidden_size"])
    decoder.projection.weight = decoder.embeddings.weight
    decoder.layer_norm.gamma = norm
    for layer in decoder.layer:
        layer.self_attention.layer_norm.gamma = layer.ffn.layer_norm.gamma = norm
        fused = sum(shape[name][0] for name in ("attn_q", "attn_k", "attn_v"))
        layer.self_attention.linear[0].weight = matrix(fused, config["hidden_size"])
        layer.self_attention.linear[1].weight = matrix(*shape["attn_output"])
        layer.ffn.linear_0.weight = matrix(*shape["ffn_gate"])
        layer.ffn.linear_0_noact.weight = matrix(*shape["ffn_up"])
        layer.ffn.linear_1.weight = matrix(*shape["ffn_down"])
    spec.config.layer_norm_epsilon = config["rms_norm_eps"]
    spec.register_vocabulary(["<unk>"] + [f"t{i}" for i in range(1, config["vocab_size"])])
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = "<unk>"
    spec.validate()
    spec.optimize(quantization="int8")
    os.makedirs(path, exist_ok=True)
    spec.save(path)


def time_ctranslate2(config, model, threads):
    import ctranslate2

    generator = ctranslate2.Generator(model, device="cpu", compute_type="int8",
                                      inter_threads=1, intra_threads=threads)

    def generate(ids, tokens):
        generator.generate_batch([[f"t{i}" for i in ids]], max_length=tokens, min_length=tokens,
                                 sampling_topk=1, include_prompt_in_result=False)

    # It runs all of a prompt but the last token at once, and that one in a step of its own.
    return median_speeds(config, generate, extra=1)


# ---- OpenVINO


def write_openvino(config, bits, path):
    """By the way its makers describe: Optimum exports a model of transformers' and NNCF compresses
    the weights; here all layers, as the other engines' models are."""
    import torch
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig
    from transformers import LlamaConfig, LlamaForCausalLM

    source = path + ".source"
    torch.set_default_dtype(torch.bfloat16)
    LlamaForCausalLM(LlamaConfig(**config)).save_pretrained(source)
    torch.set_default_dtype(torch.float32)
    options = {"bits": 8}
    if bits == 4:
        options = {"bits": 4, "sym": False, "group_size": largest_group(config), "ratio": 1.0,
                   "all_layers": True}
    model = OVModelForCausalLM.from_pretrained(
        source, export=True, compile=False,
        quantization_config=OVWeightQuantizationConfig(**options))
    model.save_pretrained(path)
    shutil.rmtree(source)


def time_openvino(config, model, threads):
    import numpy as np
    import openvino
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)

    def generate(ids, tokens):
        ids = np.array([ids], dtype=np.int64)
        options = openvino_genai.GenerationConfig()
        options.max_new_tokens, options.ignore_eos, options.do_sample = tokens, True, False
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids),
                                                openvino.Tensor(np.ones_like(ids)))
        pipeline.generate(inputs, options)

    return median_speeds(config, generate, extra=0)


def median_speeds(config, generate, extra):
    """From the times of generate(ids of a prompt, new tokens). The first new token comes with the
    pass over the prompt, or out of `extra` steps after it. Prompts are new ones each time: engines
    keep what they computed for the beginning of a prompt."""
    random_ids = random.Random(0)

    def seconds(prompt, tokens):
        ids = [random_ids.randrange(1, config["vocab_size"]) for _ in range(prompt)]
        start = time.perf_counter()
        generate(ids, tokens)
        return time.perf_counter() - start

    seconds(PROMPT, 2)
    prefill, decode = [], []
    for _ in range(REPETITIONS):
        step = (seconds(CONTEXT, GENERATE + 1) - seconds(CONTEXT, 1)) / GENERATE
        decode.append(1 / step)
        prefill.append(PROMPT / (seconds(PROMPT + extra, 1) - extra * step))
    return {f"pp{PROMPT}": statistics.median(prefill), f"tg{GENERATE}": statistics.median(decode)}


# ---- Comparing


def run(command, read=str):
    """What `read` makes of a command's output. An error's message names the command."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0:
            return read(done.stdout)
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        problem = f"exit status {done.returncode}: {last}"
    except (OSError, ValueError, LookupError) as error:
        problem = repr(error)
    raise RuntimeError(f"{shlex.join(command)}: {problem}")


class Nibble:
    def __init__(self, command, models):
        self.command, self.models = command, models
        self.info = self.json("info")
        self.threads = self.info["threads"]

    def json(self, *args, read=dict):
        return run([self.command, *args, "--json", "-q"], lambda out: read(json.loads(out)))

    def can_run(self, name):
        """Writes the model if it is not there. False if Nibble knows no such format or flag."""
        folder, init, bench = NIBBLE[name]
        try:
            if not (self.models / folder).exists():
                self.json("init", self.models / "config", "-o", self.models / folder, *init)
            self.json("bench", self.models / folder, "-p", 1, "-n", 0, "-r", 1, *bench)
            return True
        except RuntimeError as error:
            print(f"Nibble has no {name}: {error}", file=sys.stderr)
            return False

    def speeds(self, name):
        """Tokens a second of each test; None for decode if the bandwidth was too unsteady."""
        folder, _, bench = NIBBLE[name]

        def read(report):
            speeds = {r["test"]: r["tokens_per_second"]["median"] for r in report["results"]}
            return {**speeds, "bits": report["bits_per_weight"]}

        return self.json("bench", self.models / folder, "-p", PROMPT, "-n", GENERATE,
                         "-r", REPETITIONS, *bench, read=read)

    def bandwidth(self):
        """Median of readings over some seconds, GB/s."""
        return self.json("info", "--measure",
                         read=lambda report: report["measured"]["read_gbps"]["median"])


def time_engine(args, engine, model, threads):
    if engine.endswith("llama.cpp"):
        return time_llama_bench(args.work / engine, model, threads)
    python = args.work / f"venv-{engine.lower()}" / "bin/python"
    return run([python, __file__, "--shape", args.shape, "time", engine, model,
                "--threads", threads], lambda out: json.loads(out.splitlines()[-1]))


def versions(work):
    """Of the engines, as run.sh noted them in files `version`."""
    return {path.parent.name: path.read_text().strip() for path in sorted(work.glob("*/version"))}


def one_round(args, nibble, pair, nibble_first):
    """Both engines once, and a reading of the bandwidth before, between and after."""
    engine, model, weights, name = pair
    record = {"engine": engine, "weights": weights, "name": name, "gbps": [nibble.bandwidth()]}

    def run_nibble():
        record["nibble"] = nibble.speeds(name)

    def run_peer():
        record["peer"] = time_engine(args, engine, nibble.models / model, nibble.threads)

    for step in (run_nibble, run_peer) if nibble_first else (run_peer, run_nibble):
        step()
        record["gbps"].append(nibble.bandwidth())
    return record


def is_steady(record):
    return max(record["gbps"]) <= STEADY * min(record["gbps"])


def table_row(records, test):
    """A row of the table: from the steady rounds, or from all if none was steady."""
    steady = [r for r in records if is_steady(r)]
    kept = steady or records
    own, ratios = ["-"], ["-", "-", "-"]
    both = [(r["nibble"][test], r["peer"][test]) for r in kept if r["nibble"][test]]
    if both:
        own = [f"{statistics.median(speed for speed, _ in both):.1f}"]
        quotients = [speed / peer for speed, peer in both]
        ratios = [f"{f(quotients):.2f}" for f in (statistics.median, min, max)]
    modes = ", ".join(f"{statistics.mean(r['gbps']):.0f}" for r in kept)
    cells = [kept[0]["engine"], kept[0]["weights"], test,
             f"{statistics.median(r['peer'][test] for r in kept):.1f}",
             f"{kept[0]['name']} ({kept[0]['nibble']['bits']:.2f} bits)", *own, *ratios,
             f"{len(steady)} of {len(records)}", modes]
    return "| " + " | ".join(cells) + " |"


def table(all_records, nibble, args):
    cpu = nibble.info["cpu"]["model"]
    heads = ["engine", "weights", "test", "tok/s", "Nibble", "tok/s", "ratio", "min", "max",
             "steady rounds", "GB/s"]
    lines = [
        f"{args.shape}; {datetime.date.today()}, {cpu}, {nibble.threads} threads, kernels "
        f"{nibble.info['kernels']['chosen']}; {run([nibble.command, '--version']).strip()}",
        "; ".join(f"{engine}: {version}" for engine, version in versions(args.work).items()),
        "", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += [table_row(records, test) for records in all_records.values() if records
              for test in (f"pp{PROMPT}", f"tg{GENERATE}")]
    return "\n".join(lines) + "\n"


def compare(args):
    models = args.work / args.shape
    nibble = Nibble(args.nibble, models)
    pairs = [pair for pair in all_pairs(CONFIGS[args.shape]) if pair[0] in args.engines and
             (models / pair[1]).exists() and (args.work / pair[0] / "version").exists()]
    if not pairs:
        sys.exit("compare: no engine to compare with, see the messages of run.sh")
    runnable = {name for name in {pair[3] for pair in pairs} if nibble.can_run(name)}
    records = {pair: [] for pair in pairs if pair[3] in runnable}
    for number in range(args.rounds):
        for pair in list(records):
            try:
                record = one_round(args, nibble, pair, number % 2 == 0)
            except RuntimeError as error:
                print(f"{pair[0]} {pair[2]}: left out: {error}", file=sys.stderr)
                del records[pair]
                continue
            records[pair].append(record)
            print(json.dumps(record), file=sys.stderr)
    with open(models / "results.json", "w", encoding="utf-8") as file:
        json.dump([r for all_rounds in records.values() for r in all_rounds], file, indent=1)
    text = table(records, nibble, args)
    (models / "table.md").write_text(text, encoding="utf-8")
    print("\n" + text, end="")


def write(args):
    path, config = Path(args.path), CONFIGS[args.shape]
    if args.format == "config":
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(config, indent=2))
        return
    partial = path.with_name(path.name + ".partial")  # what is there under its name is whole
    if partial.is_dir():
        shutil.rmtree(partial)
    WRITERS[args.format](config, str(partial))
    partial.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(CONFIGS), default="llama-3.2-1b")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("write")
    command.add_argument("format", choices=["config", *WRITERS])
    command.add_argument("path")
    command.set_defaults(call=write)
    command = commands.add_parser("time")
    command.add_argument("engine", choices=list(TIMERS))
    command.add_argument("model")
    command.add_argument("--threads", type=int, required=True)
    command.set_defaults(call=lambda args: print(
        json.dumps(TIMERS[args.engine](CONFIGS[args.shape], args.model, args.threads))))
    command = commands.add_parser("compare")
    command.add_argument("--nibble", required=True)
    command.add_argument("--work", type=Path, required=True)
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--engines", nargs="+", required=True)
    command.set_defaults(call=compare)
    args = parser.parse_args()
    args.call(args)


WRITERS = {
    "BF16": lambda config, path: write_gguf(config, "BF16", path),
    "Q8_0": lambda config, path: write_gguf(config, "Q8_0", path),
    "Q4_0": lambda config, path: write_gguf(config, "Q4_0", path),
    "ctranslate2-int8": write_ctranslate2,
    "openvino-int4": lambda config, path: write_openvino(config, 4, path),
    "openvino-int8": lambda config, path: write_openvino(config, 8, path),
}
TIMERS = {"CTranslate2": time_ctranslate2, "OpenVINO": time_openvino}

if __name__ == "__main__":
    main()
