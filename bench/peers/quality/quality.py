#!/usr/bin/env python3
"""Other tools' quantized weights as plain folders, so that `nibble eval --reference` judges them all.

README.md says what is compared; run.sh calls this, each sub-command in its own virtual environment:
  blocks MODEL OUT SAMPLES TEXT:SHARE...   the calibration tokens as OUT.npy, and their text as OUT.txt
  llmcompressor METHOD BITS GROUP MODEL IDS OUT   METHOD: awq or gptq
  autoround BITS GROUP MODEL IDS OUT
  perplexity FOLDER TEXT SEGMENTS   transformers' perplexity of an exported folder (dense, or AutoAWQ's layout),
                                    in float32, by the protocol of `nibble eval --task perplexity --seqlen 512`
MODEL and OUT are folders of Hugging Face's layout; OUT's weights are those that were quantized, multiplied
out again, in the dtype of the model.
"""
import argparse
import shutil
from pathlib import Path

import numpy as np

LENGTH = 512  # tokens of a block


def blocks(args):
    """As `nibble quantize --calib` takes them: in turn, from the text that lags most behind its share."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    ids, shares = [], []
    for argument in args.texts:
        file, share = argument.rsplit(":", 1)
        with open(file, encoding="utf-8") as text:
            ids.append(tokenizer(text.read(), verbose=False)["input_ids"])
        shares.append(float(share))
    taken, chosen = [0] * len(ids), []
    for number in range(1, args.samples + 1):
        lag = [share / sum(shares) * number - n for share, n in zip(shares, taken)]
        i = max(range(len(ids)), key=lambda k: (round(lag[k], 9), -k))
        chosen.append(ids[i][taken[i] * LENGTH:(taken[i] + 1) * LENGTH])
        taken[i] += 1
    np.save(args.out + ".npy", np.array(chosen, dtype=np.int32))
    with open(args.out + ".txt", "w", encoding="utf-8") as text:
        text.write("".join(tokenizer.decode(block) for block in chosen))


def load(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto"), AutoTokenizer.from_pretrained(folder)


def llmcompressor(args):
    import torch
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    torch.Tensor.pin_memory = lambda tensor: tensor  # AWQ pins what it caches, which needs a GPU
    weights = QuantizationArgs(num_bits=args.bits, group_size=args.group, symmetric=False, strategy="group")
    scheme = {"group_0": QuantizationScheme(targets=["Linear"], weights=weights)}
    if args.method == "awq":
        recipe = [AWQModifier(duo_scaling="both"),
                  QuantizationModifier(config_groups=scheme, ignore=["lm_head"])]
    else:
        recipe = [GPTQModifier(config_groups=scheme, ignore=["lm_head"])]
    model, tokenizer = load(args.model)
    ids = np.load(args.ids).tolist()
    oneshot(model=model, processor=tokenizer, recipe=recipe, max_seq_length=LENGTH,
            num_calibration_samples=len(ids),
            dataset=Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * LENGTH] * len(ids)}))
    found = dict(model.named_parameters())
    for name, module in model.named_modules():
        quantization = getattr(module, "quantization_scheme", None)
        if quantization is not None and quantization.weights is not None:
            found[name + ".weight"] = fake_quantize(
                module.weight, module.weight_scale, module.weight_zero_point, quantization.weights)
    plain, _ = load(args.model)
    for name, parameter in plain.named_parameters():
        parameter.data.copy_(found[name].data)
    plain.save_pretrained(args.out)
    copy_files(args.model, args.out)


def copy_files(model, out):
    """The model's own config and tokenizer, in place of what this version of transformers made of them."""
    for file in Path(model).glob("*.json"):
        if not file.name.endswith(".index.json"):
            shutil.copy(file, out)


def autoround(args):
    import torch
    from auto_round import AutoRound

    ids = [{"input_ids": torch.tensor([block]), "attention_mask": torch.ones(1, LENGTH, dtype=torch.long)}
           for block in np.load(args.ids).tolist()]
    AutoRound(args.model, bits=args.bits, group_size=args.group, sym=False, dataset=ids, nsamples=len(ids),
              seqlen=LENGTH, iters=args.iters, device_map="cpu").quantize_and_save(args.out + ".made", format="fake")
    (made,) = Path(args.out + ".made").glob("**/model.safetensors")
    made.parent.rename(args.out)
    copy_files(args.model, args.out)


def unpack_awq(integers):
    """AutoAWQ's int32 words, each of 8 columns in the order 0 2 4 6 1 3 5 7, as integers of 4 bits."""
    import torch

    shifts = torch.tensor([0, 4, 1, 5, 2, 6, 3, 7]) * 4
    return (integers.unsqueeze(-1) >> shifts & 15).flatten(-2)


def perplexity(args):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(args.folder)
    awq = getattr(config, "quantization_config", None)
    if awq:
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    tensors = {}
    for name, tensor in load_file(Path(args.folder) / "model.safetensors").items():
        layer, _, part = name.rpartition(".")
        if part == "qweight":
            tensors[layer + ".weight"] = (tensor, layer)
        elif part not in ("qzeros", "scales"):
            tensors[name] = tensor.float()
        else:
            tensors[(layer, part)] = tensor
    state = {}
    for name, value in tensors.items():
        if isinstance(value, tuple):
            packed, layer = value
            q = unpack_awq(packed).float()  # (in, out)
            rows = q.shape[0] // tensors[layer, "scales"].shape[0]
            zeros, scales = (t.float().repeat_interleave(rows, 0) for t in
                             (unpack_awq(tensors[layer, "qzeros"]), tensors[layer, "scales"]))
            state[name] = ((q - zeros) * scales).T
        elif isinstance(name, str):
            state[name] = value
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    with open(args.text, encoding="utf-8") as file:
        ids = AutoTokenizer.from_pretrained(args.folder)(file.read(), verbose=False)["input_ids"]
    losses = []
    with torch.no_grad():
        for i in range(args.segments):
            segment = torch.tensor([ids[i * LENGTH:(i + 1) * LENGTH]])
            losses.append(model(segment, labels=segment).loss.item())
    print(f"{args.folder}: perplexity {np.exp(np.mean(losses)):.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("blocks")
    command.add_argument("model")
    command.add_argument("out")
    command.add_argument("samples", type=int)
    command.add_argument("texts", nargs="+")
    command.set_defaults(call=blocks)
    for name, call in (("llmcompressor", llmcompressor), ("autoround", autoround)):
        command = commands.add_parser(name)
        if name == "llmcompressor":
            command.add_argument("method", choices=["awq", "gptq"])
        else:
            command.add_argument("--iters", type=int)  # its own default if not given
        command.add_argument("bits", type=int)
        command.add_argument("group", type=int)
        for argument in ("model", "ids", "out"):
            command.add_argument(argument)
        command.set_defaults(call=call)
    command = commands.add_parser("perplexity")
    command.add_argument("folder")
    command.add_argument("text")
    command.add_argument("segments", type=int)
    command.set_defaults(call=perplexity)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
