// What the page adds to its own text: sorting, choosing and pointing. Without scripts everything is there to be read.
(() => {
  const all = (root, selector) => [...root.querySelectorAll(selector)];

  // Tables sort by a click on a header, or by Enter or Space on it: rows move within their section.
  const key = text => {
    const number = text.match(/^[●○<[\s]*([+-]?\d+(\.\d+)?(e[+-]?\d+)?)/i);
    return number ? parseFloat(number[1]) : null;
  };
  const compare = (a, b, sign) => {
    const [x, y] = [key(a), key(b)];
    if (x !== null && y !== null && x !== y) return sign * (x - y);
    if ((x === null) !== (y === null)) return x === null ? 1 : -1;
    return sign * a.localeCompare(b, undefined, {numeric: true});
  };
  for (const table of all(document, "table:not(.forest)")) {
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const down = header.getAttribute("aria-sort") === "ascending";
        for (const other of headers) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", down ? "descending" : "ascending");
        for (const body of table.tBodies) {
          const rows = [...body.rows].filter(row => row.cells.length === headers.length);
          const text = row => row.cells[column].textContent.trim();
          rows.sort((a, b) => compare(text(a), text(b), down ? -1 : 1));
          body.append(...rows);
        }
      });
    });
  }

  // The form of a group chooses an endpoint of the forest plot, its seeds, and the methods of all of the group's tables.
  for (const form of all(document, ".controls")) {
    const group = form.closest(".group");
    const boxes = name => all(form, `[name=${name}]`);
    const hidden = name => new Set(boxes(name).filter(box => !box.checked).map(box => box.value));
    form.hidden = false;
    form.addEventListener("submit", event => event.preventDefault());
    form.addEventListener("change", event => {
      for (const [whole, single] of [["all-seeds", "seed"], ["all-methods", "method"]]) {
        for (const box of boxes(whole)) {
          if (event.target === box) for (const one of boxes(single)) one.checked = box.checked;
          box.checked = boxes(single).every(one => one.checked);
        }
      }
      const endpoint = form.querySelector("[type=radio]:checked")?.value ?? "";
      const [seeds, methods] = [hidden("seed"), hidden("method")];
      for (const panel of all(group, ".panel")) panel.hidden = endpoint !== "" && panel.dataset.panel !== endpoint;
      group.querySelector(".panels").classList.toggle("single", endpoint !== "");
      for (const dot of all(group, ".seed[data-seed]")) dot.toggleAttribute("hidden", seeds.has(dot.dataset.seed));
      for (const row of all(group, "tr[data-method]")) row.hidden = methods.has(row.dataset.method);
    });
  }

  // A pointer on a seed's dot shows its value, and the same seed of all other methods.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.querySelector("main").append(tip);
  for (const title of all(document, ".seed > title")) {
    title.parentNode.dataset.text = title.textContent;
    title.remove();  // the browser would show it as well
  }
  let marked = [];
  const leave = () => {
    for (const dot of marked) dot.classList.remove("same");
    marked = [];
    tip.hidden = true;
  };
  document.addEventListener("pointerover", event => {
    const dot = event.target.closest?.(".seed[data-seed]");
    if (!dot) return leave();
    leave();
    marked = all(dot.closest(".group"), `.seed[data-seed="${dot.dataset.seed}"]`);
    for (const one of marked) one.classList.add("same");
    const place = dot.getBoundingClientRect();
    tip.textContent = dot.dataset.text;
    tip.hidden = false;
    const left = place.left + place.width / 2 - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${place.top > 40 ? place.top - tip.offsetHeight - 6 : place.bottom + 6}px`;
  });
  document.addEventListener("scroll", leave, {passive: true});

  // The contents say where the reader is.
  const links = new Map(all(document, "nav li > a").map(link => [link.hash.slice(1), link]));
  const places = [...links.keys()].map(id => document.getElementById(id)).filter(Boolean);
  const follow = () => {
    const passed = places.filter(place => place.getBoundingClientRect().top < innerHeight / 3);
    for (const one of all(document, "nav .here")) one.classList.remove("here");
    for (const link of links.values()) link.removeAttribute("aria-current");
    const link = links.get((passed.at(-1) ?? places[0])?.id);
    if (!link) return;
    link.setAttribute("aria-current", "true");
    for (let one = link; one && one.tagName !== "NAV"; one = one.parentElement) {
      if (one.tagName === "LI") for (const part of [one, one.querySelector("a")]) part.classList.add("here");
    }
  };
  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; follow(); });
  }, {passive: true});
  follow();

  // A link to folded figures unfolds them.
  document.addEventListener("click", event => {
    const link = event.target.closest?.("nav a");
    const fold = link?.hash && document.getElementById(link.hash.slice(1))?.querySelector(":scope > details.fold:only-of-type");
    if (fold && link.hash.endsWith("-figures")) fold.open = true;
  });

  let closed = [];  // paper has no clicks: folded tables are opened for it
  addEventListener("beforeprint", () => {
    closed = all(document, "details.fold:not([open])");
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
})();
