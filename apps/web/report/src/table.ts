// Tables that sort by the column whose heading is pressed.

export interface Column<Row> {
  title: string;
  value: (row: Row) => string | number | undefined;
  /** Digits behind the point. */
  digits?: number;
}

function show<Row>(column: Column<Row>, row: Row): string {
  const value = column.value(row);
  if (value === undefined) return "–";
  return typeof value === "number" ? value.toFixed(column.digits ?? 2) : value;
}

/** By number where both are numbers, by text else; what is missing comes last. */
function compare(a: string | number | undefined, b: string | number | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? 1 : -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

export function makeTable<Row>(rows: Row[], columns: Column<Row>[]): HTMLElement {
  const table = document.createElement("table");
  const body = document.createElement("tbody");
  const heads: HTMLTableCellElement[] = [];
  const fill = (sorted: Row[]) => {
    body.replaceChildren(
      ...sorted.map((row) => {
        const line = document.createElement("tr");
        for (const column of columns) {
          const cell = line.insertCell();
          cell.textContent = show(column, row);
          if (typeof column.value(row) === "number") cell.className = "number";
        }
        return line;
      }),
    );
  };
  const head = document.createElement("tr");
  columns.forEach((column, index) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    if (rows.some((row) => typeof column.value(row) === "number")) cell.className = "number";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.title;
    button.addEventListener("click", () => {
      const descends = cell.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", descends ? "descending" : "ascending");
      const sign = descends ? -1 : 1;
      const value = columns[index]!.value;
      fill([...rows].sort((a, b) => sign * compare(value(a), value(b))));
    });
    cell.append(button);
    head.append(cell);
    heads.push(cell);
  });
  fill(rows);
  const top = document.createElement("thead");
  top.append(head);
  table.append(top, body);
  const frame = document.createElement("div");
  frame.className = "table";
  frame.append(table);
  return frame;
}
