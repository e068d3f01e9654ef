// One result of each kind, in the form in which the commands print it.
const quality = (model, bits, factor) => ({
  model,
  tokens: 341469,
  bits_per_weight: bits,
  results: [128, 512, 2048].map((seqlen, i) => ({
    seqlen,
    segments: 20,
    perplexity: (40 - 8 * i) * factor,
    nll: Math.log((40 - 8 * i) * factor),
    kl_divergence: factor - 1,
    top1_agreement: 1 / factor,
  })),
});

const subjects = (shift) =>
  ["abstract_algebra", "anatomy", "astronomy", "world_religions"].map((name, i) => ({
    name,
    category: i === 0 ? "STEM" : "other",
    n: 100,
    accuracy: 0.25 + 0.1 * i + shift,
    answers: "ABCD",
  }));

const operator = (name, percent) => ({ name, calls: 16, ms: percent / 10, percent, bytes: 1e6 });
const phase = {
  tokens: 1,
  passes: 32,
  ms_per_pass: 10,
  operators: [operator("qkv", 20), operator("attention", 10), operator("mlp", 60)],
  outside_operators: { ms: 1, percent: 10 },
};

export const samples = {
  "quality.json": {
    protocol: "segments",
    models: [
      quality("smol-bf16", 16, 1.0001),
      quality("smol-w4", 4.31, 1.2),
      quality("smol-w3", 3.3, 1.8),
    ],
  },
  "mmlu-bf16.json": { model: "smol-bf16", subjects: subjects(0.02), accuracy: 0.42 },
  "mmlu-w4.json": { model: "smol-w4", subjects: subjects(0), accuracy: 0.4 },
  "bench-w4.json": {
    model: "models/llama-1b-w4",
    kernels: "avx512",
    threads: 2,
    activations: "bf16",
    bits_per_weight: 4.156,
    results: [
      { test: "pp512", tokens_per_second: { min: 1, median: 214, max: 220 }, limit: 241 },
      { test: "tg128", tokens_per_second: { min: 1, median: 49.9, max: 51 }, limit: 50.7 },
    ],
  },
  "bench-w3.json": {
    model: "models/llama-1b-w3",
    activations: "int8",
    bits_per_weight: 3.148,
    results: [
      {
        test: "tg128",
        tokens_per_second: { min: 1, median: 65.3, max: 66 },
        limit: 68.4,
        percent_of_limit: 95.5,
      },
    ],
  },
  "latency.json": {
    model: "llama-1b-w4",
    task: "benchmark",
    limit: 50.7,
    rows: [4, 64, 256].map((prompt_tokens, i) => ({
      example: i + 1,
      prompt_tokens,
      new_tokens: 60,
      total_s: 1.5 + i,
      prefill_ms: 20 * (i + 1),
      ms_per_token: 20 + i,
      tokens_per_second: 1000 / (20 + i),
    })),
  },
  "profile.json": { model: "llama-1b-w4", prefill: { ...phase, tokens: 512 }, decode: phase },
  "quantize.json": {
    output: "smol-w3",
    algorithm: "awq",
    blocks: [0, 1, 2].map((layer) => ({ layer, error: 0.01 * (layer + 1) })),
    tensors: [0, 1, 2].flatMap((layer) =>
      ["q_proj", "down_proj"].map((name, i) => ({
        name: `model.layers.${layer}.self.${name}.weight`,
        shape: [64, 64],
        bits: 3,
        group_size: 64,
        rel_error: 0.1 + 0.01 * layer + 0.02 * i,
      })),
    ),
  },
};
