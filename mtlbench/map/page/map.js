// Choices: comparator, endpoint, and the knobs that a panel does not show. The cells of the panels are filled again from
// the data of the page; tables that exist once for every choice are shown or hidden. Without scripts all of them stand.
(() => {
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const state = {comparator: data.comparator, endpoint: data.endpoint};
  const detail = document.getElementById("detail");
  // Gains are whole tenths of a point, so that they round here exactly as where the page was written.
  const whole = tenths => {
    const size = Math.floor((Math.abs(tenths) + 5) / 10);
    return size === 0 ? "0" : (tenths > 0 ? "+" : "−") + size;
  };
  const signed = tenths => (tenths > 0 ? "+" : "") + (tenths / 10).toFixed(1).replace("-", "−");
  const pText = p => p < 10 ? "p < 0.001" : `p = ${(p / 10000).toFixed(p < 1000 ? 4 : 3)}`;
  const step = tenths => {
    const size = data.edges.filter(edge => edge <= Math.abs(tenths) / 10).length;
    return data.edges.length + (tenths > 0 ? size : -size);
  };
  const median = values => {
    const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  };

  class Study {
    constructor(section) {
      this.section = section;
      this.data = data.studies[section.dataset.study];
      this.sliders = [...section.querySelectorAll(".knobs input")];
      this.panels = [...section.querySelectorAll(".panel")];
      for (const slider of this.sliders) slider.addEventListener("input", () => { this.draw(); remember(); });
    }
    slice() {  // sliders count like the digits of a number: the last one fastest
      return this.sliders.reduce((place, slider) => place * (Number(slider.max) + 1) + Number(slider.value), 0);
    }
    get comparator() { return this.data.gains[state.comparator] ? state.comparator : this.data.default; }
    gains() { return this.data.gains[this.comparator]?.[state.endpoint]; }
    cell(panel, td) {
      const setting = this.data.grid[this.slice()][td.parentElement.dataset.y][td.dataset.x], gains = this.gains();
      const place = setting === null || !gains ? -1 : Number(panel.dataset.method) * this.data.settings.length + setting;
      return {setting, gains, place, known: place >= 0 && gains.mean[place] !== null};
    }
    separable(place) { return this.gains().separable[place] === "1"; }
    draw() {
      for (const slider of this.sliders) {
        const words = this.data.sliders[this.sliders.indexOf(slider)][slider.value];
        slider.nextElementSibling.value = words;
        slider.setAttribute("aria-valuetext", words);
      }
      for (const panel of this.panels) this.fill(panel);
      const missing = this.comparator === state.comparator ? "" : `Not trained in this study: ${data.comparators[state.comparator]}. `;
      this.section.querySelector(".tests").textContent = missing
        + (this.gains()?.tests ?? `Nothing to show by ${data.endpoints[state.endpoint]}: it needs single tasks.`);
    }
    fill(panel) {
      const seen = [];
      for (const td of panel.querySelectorAll("tbody td")) {
        const {gains, place, known, setting} = this.cell(panel, td);
        td.className = known ? `g${step(gains.mean[place])}${this.separable(place) ? "" : " ns"}` : "none";
        td.querySelector("span").textContent = known ? whole(gains.mean[place]) : "";
        const small = td.querySelector("small");
        if (small) small.textContent = setting === null ? "" : this.data.notes[setting];
        td.removeAttribute("title");
        if (known) seen.push(place);
      }
      const gains = this.gains(), count = panel.querySelector(".count");
      panel.hidden = !seen.length;
      if (!seen.length) { count.textContent = "not compared"; return; }
      const won = seen.filter(i => this.separable(i) && gains.mean[i] > 0).length;
      const lost = seen.filter(i => this.separable(i) && gains.mean[i] < 0).length;
      count.textContent = `won ${won}, lost ${lost} of ${seen.length}; median ${whole(median(seen.map(i => gains.mean[i])))}`;
    }
    words(panel, td) {
      const {gains, place, known, setting} = this.cell(panel, td), method = Number(panel.dataset.method);
      if (setting === null) return "This setting was not trained.";
      const lines = [`${this.data.methods[method]} against ${data.comparators[this.comparator]}`, this.data.settings[setting]];
      if (!known) return [...lines, "not compared"].join("\n");
      const mean = gains.mean[place], half = gains.half[place];
      const interval = half ? ` [${signed(mean - half)}, ${signed(mean + half)}]` : "";
      const of = values => Array.isArray(values) ? values[place] : values;
      lines.push(`gain ${signed(mean)}${interval}, ${pText(gains.p[place])}, ${this.separable(place) ? "separable" : "not separable"}`);
      if (data.logarithmic.includes(state.endpoint)) lines.push(`test error ${Math.exp(-mean / 1000).toFixed(2)} times the comparator’s`);
      lines.push(`${of(gains.seeds)} seeds; ${of(gains.trials)} trials against ${of(gains.comparator_trials)}`);
      if (this.data.notes[setting]) lines.push(`measured cosine of the gradients ${this.data.notes[setting]}`);
      return lines.join("\n");
    }
  }

  const studies = [...document.querySelectorAll("section[data-study]")].map(section => new Study(section));
  const selects = [...document.querySelectorAll(".choices select")];

  // The address keeps the choices, so that a link leads to the same view.
  const remember = () => {
    const choices = new URLSearchParams(state);
    for (const study of studies) if (study.sliders.length) choices.set(study.section.dataset.study, study.sliders.map(s => s.value).join("."));
    history.replaceState(null, "", `#${choices}`);
  };
  const recall = () => {
    const choices = new URLSearchParams(location.hash.slice(1));
    for (const select of selects) {
      const value = choices.get(select.name);
      if ([...select.options].some(option => option.value === value)) state[select.name] = value;
      select.value = state[select.name];
    }
    for (const study of studies) {
      choices.get(study.section.dataset.study)?.split(".").forEach((value, place) => {
        if (study.sliders[place] && value !== "") study.sliders[place].value = value;
      });
    }
  };
  const draw = () => {
    for (const study of studies) study.draw();
    for (const part of document.querySelectorAll("[data-when-comparator]")) part.hidden = part.dataset.whenComparator !== state.comparator;
    for (const part of document.querySelectorAll("[data-when-endpoint]")) part.hidden = part.dataset.whenEndpoint !== state.endpoint;
    for (const part of document.querySelectorAll("details[data-when-comparator], details[data-when-endpoint]")) part.open = true;
  };
  for (const select of selects) {
    select.addEventListener("change", () => { state[select.name] = select.value; draw(); remember(); });
  }
  addEventListener("hashchange", () => { if (location.hash.includes("=")) { recall(); draw(); } });

  // Details of a cell: under the pointer, under a finger, or at the cell that the arrow keys reach.
  const show = td => {
    const panel = td.closest(".panel"), study = studies.find(one => one.section.contains(td));
    detail.textContent = study.words(panel, td);
    detail.hidden = false;
    const box = td.getBoundingClientRect(), own = detail.getBoundingClientRect();
    const above = box.top - own.height - 6;
    detail.style.top = `${above > 0 ? above : Math.min(box.bottom + 6, innerHeight - own.height - 4)}px`;
    detail.style.left = `${Math.max(4, Math.min(box.left + box.width / 2 - own.width / 2, document.documentElement.clientWidth - own.width - 4))}px`;
  };
  const cellOf = event => event.target.closest?.(".panel tbody td");
  for (const kind of ["pointerover", "focusin", "click"]) {
    addEventListener(kind, event => { const td = cellOf(event); if (td) show(td); else if (kind !== "focusin") detail.hidden = true; });
  }
  addEventListener("scroll", () => { detail.hidden = true; }, {passive: true});
  const moves = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
  addEventListener("keydown", event => {
    if (event.key === "Escape") detail.hidden = true;
    const td = cellOf(event), move = moves[event.key];
    if (!td || !move) return;
    event.preventDefault();
    const body = td.closest("tbody"), next = body.rows[td.parentElement.rowIndex + move[0]]?.cells[td.cellIndex + move[1]];
    if (next?.tagName !== "TD") return;
    td.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  for (const study of studies) for (const panel of study.panels) {
    for (const td of panel.querySelectorAll("tbody td")) td.tabIndex = -1;
    panel.querySelector("tbody td").tabIndex = 0;
  }

  let closed = [];  // paper has no clicks: everything is opened for it
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
  document.documentElement.classList.add("has-script");
  recall();
  draw();
})();
