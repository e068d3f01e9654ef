// The plots, as SVG: they take the page's colours, and print.
import * as Plot from "@observablehq/plot";

import type {
  Accuracy,
  BlockError,
  Latency,
  OperatorTime,
  Quality,
  Speed,
  TensorError,
} from "./results";

// Okabe and Ito's palette, which colour-blind readers can tell apart, without its black.
const kColours = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b3a000"];

type Options = Plot.PlotOptions;
type Drawn = (SVGSVGElement | HTMLElement) & Plot.Plot;

const colours = new Map<string, string>();

/** Gives each model one colour for all plots, in their order. */
export function colourModels(labels: Iterable<string>): void {
  for (const label of labels) {
    if (!colours.has(label)) colours.set(label, kColours[colours.size % kColours.length]!);
  }
}

const colourOf = (label: string): string => colours.get(label) ?? kColours[0]!;

function byModel(rows: { label: string }[]): Plot.ScaleOptions {
  const domain = [...new Set(rows.map((row) => row.label))];
  return { domain, range: domain.map(colourOf) };
}

/** The names of bars, to the left of them, in lines as long as there is room for, or in one. */
function barNames(
  names: string[],
  width: number,
  textOverflow?: "ellipsis-middle",
): { margin: number; axis: Plot.Markish } {
  const kCharacter = 7.2; // wide
  const longest = Math.max(...names.map((name) => name.length));
  const margin = Math.min(width / 2.4, 24 + kCharacter * longest);
  const lineWidth = (margin - 8) / 12; // in ems
  return { margin, axis: Plot.axisY({ label: null, tickSize: 0, lineWidth, textOverflow }) };
}

function draw(width: number, options: Options): Drawn {
  return Plot.plot({
    width,
    height: Math.max(260, Math.min(400, width * 0.55)),
    marginLeft: 56,
    marginBottom: 42,
    style: { background: "transparent", fontSize: "12px", overflow: "visible" },
    ...options,
    color: { range: kColours, legend: true, ...options.color },
  });
}

/** One point a model: what its bits cost. */
export function qualityByBits(rows: Quality[], width: number, field: "perplexity" | "kl"): Drawn {
  const name = field === "kl" ? "KL divergence (nats)" : "perplexity";
  return draw(width, {
    x: { label: "bits a weight", grid: true, nice: true },
    y: { label: name, grid: true, nice: true, type: field === "kl" ? "linear" : "log" },
    color: byModel(rows),
    marks: [
      Plot.dot(rows, {
        x: "bitsPerWeight",
        y: field,
        fill: "label",
        r: 5,
        title: (row: Quality) => `${row.label}: ${row[field]?.toFixed(4)}`,
      }),
    ],
  });
}

export function perplexityByLength(rows: Quality[], width: number): Drawn {
  return draw(width, {
    x: { label: "tokens of a segment", type: "log", base: 2, grid: true, tickFormat: "d" },
    y: { label: "perplexity", type: "log", grid: true },
    color: byModel(rows),
    marks: [
      Plot.line(rows, { x: "seqlen", y: "perplexity", stroke: "label", sort: "seqlen" }),
      Plot.dot(rows, {
        x: "seqlen",
        y: "perplexity",
        fill: "label",
        r: 4,
        title: (row: Quality) => `${row.label}, ${row.seqlen}: ${row.perplexity.toFixed(4)}`,
      }),
    ],
  });
}

/** The machine's limit of each row as a line across its bar. */
export function speedWithLimit(rows: Speed[], width: number): Drawn {
  const limited = rows.filter((row) => row.limit !== undefined);
  const names = barNames(rows.map((row) => row.label), width);
  return draw(width, {
    height: Math.max(120, 60 + 30 * rows.length),
    marginLeft: names.margin,
    x: { label: "tokens a second; the line across a bar: the machine's limit", grid: true },
    y: { label: null, domain: rows.map((row) => row.label) },
    color: { legend: false, type: "identity", range: undefined },
    marks: [
      names.axis,
      Plot.barX(rows, {
        x: "tokensPerSecond",
        y: "label",
        fill: (row: Speed) => colourOf(row.label),
        fillOpacity: 0.8,
      }),
      Plot.tickX(limited, { x: "limit", y: "label", stroke: "currentColor", strokeWidth: 2 }),
      Plot.ruleX([0]),
    ],
  });
}

export function speedByPrompt(rows: Latency[], width: number): Drawn {
  const limits = [
    ...new Map(
      rows.filter((row) => row.limit !== undefined).map((row) => [row.label, row]),
    ).values(),
  ];
  return draw(width, {
    x: { label: "tokens of the prompt", grid: true },
    y: { label: "tokens a second in decode", grid: true, zero: true },
    color: byModel(rows),
    marks: [
      Plot.ruleY(limits, { y: "limit", stroke: "label", strokeDasharray: "4 3" }),
      Plot.line(rows, { x: "promptTokens", y: "tokensPerSecond", stroke: "label", sort: "promptTokens" }),
      Plot.dot(rows, { x: "promptTokens", y: "tokensPerSecond", fill: "label", r: 4 }),
    ],
  });
}

export function operatorShares(rows: OperatorTime[], width: number): Drawn {
  const bars = rows.map((row) => ({ ...row, bar: `${row.label}, ${row.phase}` }));
  const names = [...new Set(bars.map((row) => row.bar))];
  const labels = barNames(names, width);
  return draw(width, {
    height: 90 + 44 * names.length,
    marginLeft: labels.margin,
    x: { label: "% of a pass", domain: [0, 100], grid: true },
    y: { label: null, domain: names },
    color: { scheme: "Tableau10", range: undefined },
    marks: [
      labels.axis,
      Plot.barX(bars, {
        x: "percent",
        y: "bar",
        fill: "operator",
        order: "appearance",
        title: (row: OperatorTime) =>
          `${row.operator}: ${row.ms.toFixed(3)} ms, ${row.percent.toFixed(1)} %`,
      } as Plot.BarXOptions),
      Plot.ruleX([0]),
    ],
  });
}

export function tensorErrors(rows: TensorError[], width: number): Drawn {
  const inBlocks = rows.filter((row) => row.layer !== undefined);
  return draw(width, {
    x: { label: "decoder block", grid: true },
    y: { label: "relative error of the weights", grid: true, zero: true },
    color: { scheme: "Tableau10", range: undefined },
    marks: [
      Plot.line(inBlocks, { x: "layer", y: "relError", stroke: "kind", z: (row: TensorError) => row.label + row.kind }),
      Plot.dot(inBlocks, { x: "layer", y: "relError", fill: "kind", r: 2.5 }),
    ],
  });
}

export function blockErrors(rows: BlockError[], width: number): Drawn {
  return draw(width, {
    x: { label: "decoder block", grid: true },
    y: { label: "relative error of the output", grid: true, zero: true },
    color: byModel(rows),
    marks: [
      Plot.line(rows, { x: "layer", y: "error", stroke: "label" }),
      Plot.dot(rows, { x: "layer", y: "error", fill: "label", r: 3 }),
    ],
  });
}

export function accuracyBySubject(rows: Accuracy[], width: number, chance: number): Drawn {
  const subjects = [...new Set(rows.map((row) => row.subject))];
  const names = barNames(subjects, width, "ellipsis-middle");
  return draw(width, {
    height: 90 + 18 * subjects.length,
    marginLeft: names.margin,
    x: { label: "answers that are right, %", domain: [0, 100], grid: true },
    y: { label: null, domain: subjects },
    color: byModel(rows),
    marks: [
      names.axis,
      Plot.ruleX([chance], { strokeDasharray: "4 3", title: () => "chance" }),
      Plot.dot(rows, {
        x: (row: Accuracy) => 100 * row.accuracy,
        y: "subject",
        fill: "label",
        r: 4,
        title: (row: Accuracy) => `${row.label}: ${(100 * row.accuracy).toFixed(1)} % of ${row.n}`,
      }),
    ],
  });
}
