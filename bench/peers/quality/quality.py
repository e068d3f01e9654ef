#!/usr/bin/env python3
"""Other tools' quantized weights as plain folders, so that `nibble eval --reference` judges them all.

README.md says what is compared; run.sh calls this, each sub-command in its own virtual environment:
  blocks MODEL OUT SAMPLES TEXT:SHARE...   the calibration tokens as OUT.npy, and their text as OUT.txt
  llmcompressor METHOD BITS GROUP MODEL IDS OUT   METHOD: awq or gptq
  autoround BITS GROUP MODEL IDS OUT
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
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
