// Fills the page that `nibble report` wrote: a section for each kind of result, a plot over a table.
import "./style.css";

import * as plots from "./plots";
import { readResults, type ResultFile, type Results } from "./results";
import { makeTable } from "./table";

type Draw = (width: number) => Element;

/** A plot that is drawn anew, as wide as its place, when that changes. */
function figure(caption: string, draw: Draw): HTMLElement {
  const frame = document.createElement("figure");
  const place = document.createElement("div");
  const text = document.createElement("figcaption");
  text.textContent = caption;
  frame.append(place, text);
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.floor(place.clientWidth);
    if (width === 0 || width === drawn) return;
    drawn = width;
    place.replaceChildren(draw(width));
  }).observe(place);
  return frame;
}

function section(title: string, parts: HTMLElement[]): HTMLElement {
  const element = document.createElement("section");
  const heading = document.createElement("h2");
  heading.textContent = title;
  element.append(heading, ...parts);
  return element;
}

function qualitySection({ qualities }: Results): HTMLElement[] {
  if (qualities.length === 0) return [];
  const parts: HTMLElement[] = [];
  // Against bits, the longest segments of each model stand for it.
  const longest = Math.max(...qualities.map((row) => row.seqlen));
  const withBits = qualities.filter(
    (row) => row.seqlen === longest && row.bitsPerWeight !== undefined,
  );
  if (withBits.length > 0) {
    parts.push(
      figure(`Perplexity against bits a weight, segments of ${longest} tokens`, (width) =>
        plots.qualityByBits(withBits, width, "perplexity"),
      ),
    );
    const withKl = withBits.filter((row) => row.kl !== undefined);
    if (withKl.length > 0) {
      parts.push(
        figure(`KL divergence against bits a weight, segments of ${longest} tokens`, (width) =>
          plots.qualityByBits(withKl, width, "kl"),
        ),
      );
    }
  }
  if (new Set(qualities.map((row) => row.seqlen)).size > 1) {
    parts.push(
      figure("Perplexity against the length of a segment", (width) =>
        plots.perplexityByLength(qualities, width),
      ),
    );
  }
  parts.push(
    makeTable(qualities, [
      { title: "model", value: (row) => row.label },
      { title: "protocol", value: (row) => row.protocol },
      { title: "tokens", value: (row) => row.seqlen, digits: 0 },
      { title: "segments", value: (row) => row.segments, digits: 0 },
      { title: "bits a weight", value: (row) => row.bitsPerWeight, digits: 3 },
      { title: "perplexity", value: (row) => row.perplexity, digits: 4 },
      { title: "KL divergence", value: (row) => row.kl, digits: 6 },
      {
        title: "same first choice, %",
        value: (row) => (row.top1 === undefined ? undefined : 100 * row.top1),
      },
    ]),
  );
  return [section("Quality", parts)];
}

function speedSection({ speeds, latencies }: Results): HTMLElement[] {
  const parts: HTMLElement[] = [];
  for (const test of new Set(speeds.map((row) => row.test))) {
    const rows = speeds.filter((row) => row.test === test);
    const name = test.startsWith("pp") ? "prefill" : "decode";
    parts.push(
      figure(`Speed of ${name} (${test})`, (width) => plots.speedWithLimit(rows, width)),
    );
  }
  if (speeds.length > 0) {
    parts.push(
      makeTable(speeds, [
        { title: "model", value: (row) => row.label },
        { title: "test", value: (row) => row.test },
        { title: "bits a weight", value: (row) => row.bitsPerWeight, digits: 3 },
        { title: "tokens/s", value: (row) => row.tokensPerSecond },
        { title: "limit", value: (row) => row.limit },
        { title: "% of limit", value: (row) => row.percentOfLimit, digits: 1 },
      ]),
    );
  }
  if (latencies.length > 0) {
    parts.push(
      figure("Speed of decode by length of the prompt; dashed: the limit", (width) =>
        plots.speedByPrompt(latencies, width),
      ),
      makeTable(latencies, [
        { title: "model", value: (row) => row.label },
        { title: "example", value: (row) => row.example },
        { title: "prompt", value: (row) => row.promptTokens, digits: 0 },
        { title: "new", value: (row) => row.newTokens, digits: 0 },
        { title: "total, s", value: (row) => row.totalSeconds },
        { title: "prefill, ms", value: (row) => row.prefillMs },
        { title: "ms/token", value: (row) => row.msPerToken },
        { title: "tokens/s", value: (row) => row.tokensPerSecond },
      ]),
    );
  }
  return parts.length > 0 ? [section("Speed", parts)] : [];
}

function profileSection({ operators }: Results): HTMLElement[] {
  if (operators.length === 0) return [];
  return [
    section("Where the time goes", [
      figure("Operators of a pass", (width) => plots.operatorShares(operators, width)),
      makeTable(operators, [
        { title: "model", value: (row) => row.label },
        { title: "phase", value: (row) => row.phase },
        { title: "operator", value: (row) => row.operator },
        { title: "ms a pass", value: (row) => row.ms, digits: 3 },
        { title: "% of the pass", value: (row) => row.percent, digits: 1 },
      ]),
    ]),
  ];
}

function quantizationSection({ tensors, blocks }: Results): HTMLElement[] {
  const parts: HTMLElement[] = [];
  if (blocks.length > 0) {
    parts.push(
      figure("Error of each block's output", (width) => plots.blockErrors(blocks, width)),
    );
  }
  for (const label of new Set(tensors.map((row) => row.label))) {
    const rows = tensors.filter((row) => row.label === label);
    parts.push(
      figure(`Error of the weights, ${label}`, (width) => plots.tensorErrors(rows, width)),
    );
  }
  if (tensors.length > 0) {
    parts.push(
      makeTable(tensors, [
        { title: "model", value: (row) => row.label },
        { title: "tensor", value: (row) => row.tensor },
        { title: "bits", value: (row) => row.bits, digits: 0 },
        { title: "relative error", value: (row) => row.relError, digits: 5 },
      ]),
    );
  }
  return parts.length > 0 ? [section("What quantizing did", parts)] : [];
}

function accuracySection({ accuracies }: Results): HTMLElement[] {
  return [...new Set(accuracies.map((row) => row.task))].map((task) => {
    const rows = accuracies.filter((row) => row.task === task);
    return section(task === "mmlu" ? "MMLU" : task, [
      figure("Share of right answers; dashed: chance", (width) =>
        plots.accuracyBySubject(rows, width, task === "winogrande" ? 50 : 25),
      ),
      makeTable(rows, [
        { title: "model", value: (row) => row.label },
        { title: "category", value: (row) => row.category },
        { title: "subject", value: (row) => row.subject },
        { title: "questions", value: (row) => row.n, digits: 0 },
        { title: "right, %", value: (row) => 100 * row.accuracy, digits: 1 },
      ]),
    ]);
  });
}

function unknownSection({ unknown }: Results): HTMLElement[] {
  if (unknown.length === 0) return [];
  const note = document.createElement("p");
  note.textContent = `Nothing to show was found in: ${unknown.join(", ")}`;
  return [section("Not shown", [note])];
}

function start(): void {
  const source = document.getElementById("results");
  const page = document.getElementById("report");
  if (source === null || page === null) return;
  const results = readResults(JSON.parse(source.textContent ?? "[]") as ResultFile[]);
  const { qualities, accuracies, speeds, latencies, blocks } = results;
  plots.colourModels(
    [...qualities, ...accuracies, ...speeds, ...latencies, ...blocks].map((row) => row.label),
  );
  page.append(
    ...qualitySection(results),
    ...accuracySection(results),
    ...speedSection(results),
    ...profileSection(results),
    ...quantizationSection(results),
    ...unknownSection(results),
  );
}

start();
