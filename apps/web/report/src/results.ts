// What Nibble's commands print with --json, sorted by what it measures. A result is recognized by
// its fields, not by the name of its file. Whatever is missing or of another type is left out: the
// page shows what there is.

type Value = unknown;
type Fields = Record<string, Value>;

/** A file as `nibble report` puts it into the page. */
export interface ResultFile {
  name: string;
  result: Value;
}

/** `nibble bench`: one test of prefill (pp512) or decode (tg128). */
export interface Speed {
  label: string;
  test: string;
  tokensPerSecond: number;
  limit?: number;
  percentOfLimit?: number;
  bitsPerWeight?: number;
}

/** A row of a latency table (`nibble bench --task`). */
export interface Latency {
  label: string;
  example: string;
  promptTokens: number;
  newTokens: number;
  totalSeconds: number;
  prefillMs: number;
  msPerToken: number;
  tokensPerSecond: number;
  limit?: number;
}

/** `nibble eval --task perplexity`: one length of segment. */
export interface Quality {
  label: string;
  protocol: string;
  seqlen: number;
  segments: number;
  perplexity: number;
  kl?: number;
  top1?: number;
  bitsPerWeight?: number;
}

/** `nibble eval` of multiple-choice questions: one subject (mmlu), or a whole task. */
export interface Accuracy {
  label: string;
  task: string;
  subject: string;
  category?: string;
  n: number;
  accuracy: number;
}

/** `nibble profile`: an operator's part of a pass. */
export interface OperatorTime {
  label: string;
  phase: string;
  operator: string;
  ms: number;
  percent: number;
}

/** `nibble quantize`, or quantization_report.json: the error of a tensor. */
export interface TensorError {
  label: string;
  tensor: string;
  layer?: number;
  kind: string;
  bits?: number;
  relError: number;
}

/** A quantization report: the error of a block's output. */
export interface BlockError {
  label: string;
  layer: number;
  error: number;
}

export interface Results {
  speeds: Speed[];
  latencies: Latency[];
  qualities: Quality[];
  accuracies: Accuracy[];
  operators: OperatorTime[];
  tensors: TensorError[];
  blocks: BlockError[];
  /** Files in which nothing was recognized. */
  unknown: string[];
}

const isFields = (value: Value): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const number = (value: Value): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;
const text = (value: Value): string | undefined => (typeof value === "string" ? value : undefined);
const list = (value: Value): Fields[] => (Array.isArray(value) ? value.filter(isFields) : []);

/** The last part of a path, which is what people call a model by. */
function baseName(path: string): string {
  const parts = path.split("/").filter((part) => part !== "");
  return parts[parts.length - 1] ?? path;
}

class Reader {
  readonly results: Results = {
    speeds: [],
    latencies: [],
    qualities: [],
    accuracies: [],
    operators: [],
    tensors: [],
    blocks: [],
    unknown: [],
  };

  read(file: ResultFile): void {
    if (!isFields(file.result)) {
      this.results.unknown.push(file.name);
      return;
    }
    const before = this.count();
    const fields = file.result;
    const label = this.labelOf(fields, file.name);
    for (const model of list(fields["models"])) {
      const own = this.labelOf(model, file.name);
      this.quality({ ...fields, ...model }, own);
      this.accuracy({ ...fields, ...model }, own);
    }
    this.quality(fields, label);
    this.accuracy(fields, label);
    this.speed(fields, label);
    this.latency(fields, label);
    this.profile(fields, label);
    if (isFields(fields["profile"])) this.profile(fields["profile"], label);
    this.quantization(fields, label);
    if (this.count() === before) this.results.unknown.push(file.name);
  }

  private count(): number {
    const r = this.results;
    return [r.speeds, r.latencies, r.qualities, r.accuracies, r.operators, r.tensors, r.blocks]
      .map((all) => all.length)
      .reduce((a, b) => a + b, 0);
  }

  /** The model's name with what else tells results apart; the file's where the result has none. */
  private labelOf(fields: Fields, file: string): string {
    const model = text(fields["model"]) ?? text(fields["output"]);
    const name = model === undefined ? baseName(file).replace(/\.json$/, "") : baseName(model);
    const activations = text(fields["activations"]);
    return activations === undefined || activations === "bf16" ? name : `${name}, ${activations}`;
  }

  private speed(fields: Fields, label: string): void {
    for (const result of list(fields["results"])) {
      const test = text(result["test"]);
      const spread = result["tokens_per_second"];
      const median = isFields(spread) ? number(spread["median"]) : undefined;
      if (test === undefined || median === undefined) continue;
      this.results.speeds.push({
        label,
        test,
        tokensPerSecond: median,
        limit: number(result["limit"]),
        percentOfLimit: number(result["percent_of_limit"]),
        bitsPerWeight: number(fields["bits_per_weight"]),
      });
    }
  }

  private latency(fields: Fields, label: string): void {
    for (const row of list(fields["rows"])) {
      const promptTokens = number(row["prompt_tokens"]);
      const tokensPerSecond = number(row["tokens_per_second"]);
      if (promptTokens === undefined || tokensPerSecond === undefined) continue;
      this.results.latencies.push({
        label,
        example: String(row["example"] ?? ""),
        promptTokens,
        newTokens: number(row["new_tokens"]) ?? 0,
        totalSeconds: number(row["total_s"]) ?? 0,
        prefillMs: number(row["prefill_ms"]) ?? 0,
        msPerToken: number(row["ms_per_token"]) ?? 0,
        tokensPerSecond,
        limit: number(fields["limit"]),
      });
    }
  }

  private quality(fields: Fields, label: string): void {
    for (const result of list(fields["results"])) {
      const seqlen = number(result["seqlen"]);
      const perplexity = number(result["perplexity"]);
      if (seqlen === undefined || perplexity === undefined) continue;
      this.results.qualities.push({
        label,
        protocol: text(fields["protocol"]) ?? "segments",
        seqlen,
        segments: number(result["segments"]) ?? 0,
        perplexity,
        kl: number(result["kl_divergence"]),
        top1: number(result["top1_agreement"]),
        bitsPerWeight: number(fields["bits_per_weight"]),
      });
    }
  }

  private accuracy(fields: Fields, label: string): void {
    const subjects = list(fields["subjects"]);
    const task = text(fields["task"]) ?? "mmlu";
    for (const subject of subjects) {
      const name = text(subject["name"]);
      const accuracy = number(subject["accuracy"]);
      if (name === undefined || accuracy === undefined) continue;
      this.results.accuracies.push({
        label,
        task,
        subject: name,
        category: text(subject["category"]),
        n: number(subject["n"]) ?? 0,
        accuracy,
      });
    }
    const whole = number(fields["accuracy"]);
    if (subjects.length > 0 || whole === undefined) return;
    this.results.accuracies.push({
      label,
      task,
      subject: task,
      n: number(fields["n"]) ?? 0,
      accuracy: whole,
    });
  }

  private profile(fields: Fields, label: string): void {
    for (const phase of ["prefill", "decode"]) {
      const part = fields[phase];
      if (!isFields(part)) continue;
      const add = (name: string, values: Fields) => {
        const ms = number(values["ms"]);
        const percent = number(values["percent"]);
        if (ms === undefined || percent === undefined) return;
        this.results.operators.push({ label, phase, operator: name, ms, percent });
      };
      for (const operator of list(part["operators"])) {
        const name = text(operator["name"]);
        if (name !== undefined) add(name, operator);
      }
      const outside = part["outside_operators"];
      if (isFields(outside)) add("outside operators", outside);
    }
  }

  private quantization(fields: Fields, label: string): void {
    for (const tensor of list(fields["tensors"])) {
      const name = text(tensor["name"]);
      const relError = number(tensor["rel_error"]);
      if (name === undefined || relError === undefined) continue;
      const layer = /\.(\d+)\./.exec(name);
      this.results.tensors.push({
        label,
        tensor: name,
        layer: layer === null ? undefined : Number(layer[1]),
        kind: /([^.]+)(\.weight)?$/.exec(name)?.[1] ?? name,
        bits: number(tensor["bits"]),
        relError,
      });
    }
    for (const block of list(fields["blocks"])) {
      const layer = number(block["layer"]);
      const error = number(block["error"]);
      if (layer === undefined || error === undefined) continue;
      this.results.blocks.push({ label, layer, error });
    }
  }
}

export function readResults(files: ResultFile[]): Results {
  const reader = new Reader();
  for (const file of files) reader.read(file);
  return reader.results;
}
