// Opens pages written by `nibble report` in headless Chromium: every plot drawn, nothing in the
// console, nothing of a result run. NIBBLE names the command; CHROMIUM the browser (default
// chromium); SCREENSHOTS a folder for pictures.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { chromium } from "playwright-core";

import { samples } from "./samples.mjs";

const command = process.env.NIBBLE ?? "../../../build/nibble";
const folder = mkdtempSync(join(tmpdir(), "nibble-report-"));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

function writePage(results) {
  const files = Object.entries(results).map(([name, result]) => {
    const file = join(folder, name);
    writeFileSync(file, JSON.stringify(result));
    return file;
  });
  const page = join(folder, "report.html");
  execFileSync(command, ["report", ...files, "-o", page], { stdio: "ignore" });
  return pathToFileURL(page).href;
}

async function open(address, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith("file:")) complaints.push(`fetches ${request.url()}`);
  });
  await page.goto(address);
  await page.waitForFunction(() => document.querySelectorAll("section").length > 0);
  await page.waitForTimeout(300);
  return { page, complaints, context };
}

const views = {
  light: { colorScheme: "light", viewport: { width: 1100, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1100, height: 900 } },
  phone: { colorScheme: "light", viewport: { width: 390, height: 844 }, isMobile: true },
};

try {
  const address = writePage(samples);
  for (const [name, view] of Object.entries(views)) {
    const { page, complaints, context } = await open(address, view);
    assert.deepEqual(complaints, [], name);
    const plots = await page.$$eval("figure > div", (places) =>
      places.map((place) => place.querySelectorAll("svg path, svg circle, svg rect").length),
    );
    assert.ok(plots.length >= 9, `${plots.length} plots`);
    assert.ok(plots.every((marks) => marks > 0), `marks of each plot: ${plots}`);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${name}: the page is ${overflow} pixels wider than its window`);
    if (process.env.SCREENSHOTS) {
      const path = join(process.env.SCREENSHOTS, `${name}.png`);
      await page.screenshot({ path, fullPage: true });
    }
    if (name === "light") {
      const first = () => page.$eval("section tbody tr td:first-child", (cell) => cell.textContent);
      const heading = page.locator("section th button").first();
      await heading.click();
      const ascending = await first();
      await heading.click();
      assert.notEqual(await first(), ascending, "a table sorts both ways");
    }
    await context.close();
  }

  // A name that would be a script, an end of the data, a comment.
  const evil = "<script>window.ran = true</script><!--</script><img src=x onerror='window.ran=true'>";
  const hostile = structuredClone(samples["bench-w4.json"]);
  hostile.model = evil;
  const { page, complaints } = await open(writePage({ "evil.json": hostile }), views.light);
  assert.deepEqual(complaints, []);
  assert.equal(await page.evaluate(() => window.ran), undefined);
  assert.ok((await page.textContent("main")).includes("onerror"));

  // What is no result is named, not shown.
  const { page: other } = await open(writePage({ "other.json": { a: [1, null] } }), views.light);
  assert.ok((await other.textContent("main")).includes("other.json"));
  console.log("report page: all passed");
} finally {
  await browser.close();
  rmSync(folder, { recursive: true });
}
