// Tables sort by a click on a heading and are filtered by words; what scrolls can be
// reached by the keyboard. Without this script the page is whole, and still.
const number = (text) => parseFloat(text.replaceAll(",", "").replace("−", "-"));
const compare = (a, b) =>
  number(a) - number(b) || isNaN(number(a)) - isNaN(number(b)) || a.localeCompare(b);

for (const table of document.querySelectorAll(".lk-results")) {
  const heads = [...table.tHead.rows].at(-1).cells;
  [...heads].forEach((head, place) => {
    if (head.classList.contains("lk-plot")) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const up = head.ariaSort !== "ascending";
      for (const each of heads) each.ariaSort = null;
      head.ariaSort = up ? "ascending" : "descending";
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => row.cells.length === heads.length);
        const text = (row) => row.cells[place].textContent.trim();
        rows.sort((a, b) => compare(text(a), text(b)) * (up ? 1 : -1));
        body.append(...rows);
      }
    };
  });
  const rows = table.querySelectorAll("tbody tr");
  if (rows.length < 10) continue;
  const filter = document.createElement("input");
  filter.type = "search";
  filter.className = "lk-filter";
  filter.placeholder = filter.ariaLabel = "Show rows with …";
  filter.oninput = () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  };
  table.closest(".lk-scroll").before(filter);
}

function reach() {
  for (const box of document.querySelectorAll(".lk-scroll, pre, .output_html"))
    box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1;
}
addEventListener("resize", reach);
document.addEventListener("toggle", reach, true); // of a fold, which does not bubble
reach();
