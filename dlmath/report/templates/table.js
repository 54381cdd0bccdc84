// Without scripts the table is whole and in the order of the papers; with them it can be filtered and sorted.
(() => {
  const form = document.querySelector("form.filter"), table = document.querySelector("#all");
  const body = table.tBodies[0], rows = [...body.rows];
  const filter = () => {
    const text = form.elements.text.value.toLowerCase();
    let found = 0;
    for (const row of rows) {
      const shown = row.textContent.toLowerCase().includes(text)
        && ["verdict", "scale"].every(name => [row.dataset[name], ""].includes(form.elements[name].value));
      row.hidden = !shown;
      found += shown;
    }
    form.elements.found.value = `${found} of ${rows.length}`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      [...head.parentElement.cells].forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const text = row => row.cells[column].textContent.trim();
      rows.sort((a, b) => sign * text(a).localeCompare(text(b), undefined, { numeric: true }));
      body.append(...rows);
    });
  });
  form.hidden = false;
  filter();
})();
