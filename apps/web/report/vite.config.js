// Builds one file, dist/report.html: the page with style and script in it, in which `nibble report`
// fills the places marked. Without source maps or hashes in names: a test compares the file with
// what these sources give.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

/** Puts style and script into page.html, and the script's hash into its content security policy. */
function singlePage() {
  return {
    name: "single-page",
    enforce: "post",
    generateBundle(_options, bundle) {
      let script = "";
      let style = "";
      for (const [name, output] of Object.entries(bundle)) {
        if (output.type === "chunk") script += output.code;
        if (name.endsWith(".css")) style += output.source;
        delete bundle[name];
      }
      script = script.trim().replaceAll("</script", "<\\/script");
      const hash = createHash("sha256").update(script).digest("base64");
      const source = readFileSync(new URL("page.html", import.meta.url), "utf8")
        .replace("@hash@", () => hash)
        .replace("@style@", () => style.trim())
        .replace("@script@", () => script);
      this.emitFile({ type: "asset", fileName: "report.html", source });
    },
  };
}

export default defineConfig({
  plugins: [singlePage()],
  build: {
    outDir: process.env.NIBBLE_REPORT_OUT ?? "dist",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    lib: { entry: "src/main.ts", formats: ["iife"], name: "nibbleReport" },
  },
});
