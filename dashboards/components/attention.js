const TOP = 6; // entries of a list
const LISTS = 210; // width of the lists beside the zoom, with their gap

class AttentionView extends View {
  constructor(parent) {
    super(parent, "attention");
    this.mode = "patterns";
    this.build();
    this.wire();
  }

  build() {
    const find = make("section", "find", this.root);
    const bar = make("div", "bar", find);
    const modes = make("div", "modes", bar);
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "What the grid shows");
    this.modes = ["patterns", "scores"].map((mode) => {
      const button = make("button", "", modes, mode[0].toUpperCase() + mode.slice(1));
      button.type = "button";
      button.dataset.testid = `attention-mode-${mode}`;
      this.listen(button, "click", () => this.setMode(mode));
      return button;
    });
    this.scoreLegend = make("span", "legend", bar);
    this.saver(bar, "attention-grid-png", () => this.gridPart());
    const grid = make("canvas", "", make("div", "gridbox", find));
    this.best = make("div", "best", find);

    this.lookBox = make("section", "look", this.root);
    const figure = make("div", "figure-box", this.lookBox);
    const caption = make("div", "bar", figure);
    this.live = make("span", "name", caption);
    this.live.setAttribute("aria-live", "polite");
    this.live.dataset.testid = "attention-live";
    this.note = make("span", "muted", caption);
    this.saver(caption, "attention-zoom-png", () => this.zoomPart());
    const zoom = make("canvas", "", figure);
    this.patternLegend = make("div", "legend", figure);
    this.readout = make("div", "live", figure);
    this.readout.setAttribute("aria-live", "polite");
    this.readout.dataset.testid = "attention-cell";
    this.lists = make("div", "lists", this.lookBox);
    this.looksAt = new Ranked(this.lists, TOP);
    this.lookedAt = new Ranked(this.lists, TOP);
    this.looksAt.box.dataset.testid = "attention-looks-at";
    this.lookedAt.box.dataset.testid = "attention-looked-at-by";
    for (const [canvas, testid] of [[grid, "attention-grid"], [zoom, "attention-zoom"]]) {
      canvas.tabIndex = 0;
      canvas.dataset.testid = testid;
      canvas.setAttribute("role", "application");
    }
    this.grid = new HeadGrid(grid, this);
    this.zoom = new Zoom(zoom, this);
  }

  wire() {
    const { canvas: grid } = this.grid;
    const { canvas: zoom } = this.zoom;
    this.listen(grid, "pointermove", (event) => this.hoverHead(this.grid.headAt(event), event));
    this.listen(grid, "pointerleave", () => this.hoverHead(null));
    this.listen(grid, "click", (event) => this.lock(this.grid.headAt(event)));
    this.listen(grid, "keydown", (event) => this.gridKey(event));
    this.listen(grid, "blur", () => this.setCursor(null));
    this.listen(zoom, "pointermove", (event) => this.hoverCell(this.zoom.cellAt(event), event));
    this.listen(zoom, "pointerleave", () => this.hoverCell(null));
    this.listen(zoom, "click", (event) => this.pin(this.cell ?? this.zoom.cellAt(event)));
    this.listen(zoom, "keydown", (event) => this.zoomKey(event));
    this.listen(zoom, "blur", () => this.hoverCell(null));
  }

  // --- data ---------------------------------------------------------------------------------

  accept(header, arrays) {
    const [layers, heads] = arrays.scores.shape;
    const changed = this.tokenText !== JSON.stringify(header.tokens);
    this.tokenText = JSON.stringify(header.tokens);
    Object.assign(this, { layers, heads, arrays, locked: header.head, pending: null });
    this.tokens = header.tokens;
    this.side = arrays.thumbnails.shape[2];
    if (changed) this.pinned = this.cell = null;
    if (this.hovered && (this.hovered[0] >= layers || this.hovered[1] >= heads)) this.hovered = null;
    if (this.cursor) this.cursor = header.head;
    this.grid.canvas.setAttribute(
      "aria-label",
      `${layers} layers by ${heads} heads, coloured by ${header.score_name}. ` +
        "Arrow keys move, Enter locks a head, Escape returns to the locked one.",
    );
    this.zoom.canvas.setAttribute(
      "aria-label",
      `Attention of L${header.head[0]}H${header.head[1]}, ${this.tokens.length} query tokens by ` +
        `${this.tokens.length} key tokens. Arrow keys move, Enter holds a cell, Escape lets go.`,
    );
  }

  settled() {
    if (!this.pending) return;
    this.pending = null;
    this.touch();
  }

  score([layer, head]) {
    return this.arrays.scores.values[layer * this.heads + head];
  }

  weight([query, key]) {
    return this.arrays.pattern.values[query * this.tokens.length + key];
  }

  // The head in the zoom: under the pointer, else under the cursor, else just locked, else locked.
  shown() {
    return this.hovered ?? this.cursor ?? this.pending ?? this.locked;
  }

  isExact() {
    const [layer, head] = this.shown();
    return layer === this.locked[0] && head === this.locked[1];
  }

  // --- acts ---------------------------------------------------------------------------------

  setMode(mode) {
    this.mode = mode;
    this.relayout();
  }

  hoverHead(head, event) {
    this.hovered = head;
    if (head) this.tip.show(event.clientX, event.clientY, this.headText(head));
    else this.tip.hide();
    this.touch();
  }

  setCursor(head) {
    this.cursor = head;
    if (head) this.grid.reveal(head);
    this.touch();
  }

  lock(head) {
    if (!head) return;
    const same = head[0] === this.locked[0] && head[1] === this.locked[1];
    this.pending = same ? null : head;
    this.touch();
    if (!same) this.send("locked", head);
  }

  gridKey(event) {
    const from = this.cursor ?? this.pending ?? this.locked;
    const to = stepped(event.key, from, this.layers, this.heads);
    if (to) {
      this.hovered = null;
      this.tip.hide();
      this.setCursor(to);
    } else if (event.key === "Enter" || event.key === " ") this.lock(from);
    else if (event.key === "Escape") this.setCursor(null);
    else return;
    event.preventDefault();
  }

  hoverCell(cell, event) {
    this.cell = cell;
    if (cell && this.isExact()) {
      const [query, key] = cell.map((index) => this.tokens[index]);
      this.tip.show(event.clientX, event.clientY, this.cellText(cell), `${query[1]} → ${key[1]}`);
    } else this.tip.hide();
    this.touch();
  }

  pin(cell) {
    const same = cell && this.pinned && cell[0] === this.pinned[0] && cell[1] === this.pinned[1];
    this.pinned = same ? null : cell;
    this.touch();
  }

  zoomKey(event) {
    const from = this.focusCell();
    const to = stepped(event.key, from, this.tokens.length, this.tokens.length);
    if (to) this.cell = to;
    else if (event.key === "Enter" || event.key === " ") this.pinned = from;
    else if (event.key === "Escape") this.cell = this.pinned = null;
    else return;
    event.preventDefault();
    this.tip.hide();
    this.touch();
  }

  // --- words --------------------------------------------------------------------------------

  headText(head) {
    return `L${head[0]}H${head[1]}, ${this.header.score_name} ${number(this.score(head))}`;
  }

  cellText([query, key]) {
    const word = (index) => `\`${this.tokens[index][0]}\` (${index})`;
    return `query ${word(query)} → key ${word(key)}: ${exactly(this.weight([query, key]))}`;
  }

  gridPart() {
    const { header, scoreMap, mode } = this;
    const title = `${header.score_name} of ${this.layers} × ${this.heads} heads`;
    const what = mode === "patterns" ? `${title}, with their patterns` : title;
    const { canvas } = this.grid;
    return { canvas, title: what, map: scoreMap, value: header.score_name, name: header.score_name };
  }

  zoomPart() {
    const { header, patternMap, locked } = this;
    const { canvas } = this.zoom;
    const name = `L${locked[0]}H${locked[1]}`;
    return { canvas, title: header.title, map: patternMap, value: this.patternName(), name };
  }

  patternName() {
    return this.header.signed ? "attention difference" : "attention";
  }

  // --- layout: what hover does not change is drawn here, once --------------------------------

  layout() {
    const { width, theme, header } = this;
    const [low, high] = header.score_limits;
    this.scoreMap = colourMap(theme, low, high, "orange", "purple");
    const bottom = header.signed ? -header.limit : 0;
    this.patternMap = colourMap(theme, bottom, header.limit, "blue", "red");
    const beside = width >= 680;
    const [left, right] = beside ? this.columns(width) : [width, width];
    const broad = beside && right - LISTS >= 490;
    const kind = broad ? "broad" : beside ? "wide" : width >= 420 ? "narrow" : "slim";
    this.root.dataset.layout = kind;
    this.root.style.gridTemplateColumns = beside ? `${left}px minmax(0, 1fr)` : "minmax(0, 1fr)";
    const defined = this.arrays.scores.values.some((score) => !Number.isFinite(score));
    legend(this.scoreLegend, this.scoreMap, header.score_name, theme, defined);
    legend(this.patternLegend, this.patternMap, this.patternName(), theme, false);
    this.modes.forEach((button, index) => {
      button.setAttribute("aria-pressed", String(["patterns", "scores"][index] === this.mode));
    });
    this.fillBest();
    this.grid.layout(left - 2);
    this.zoom.layout(broad ? right - LISTS : right);
  }

  // Widths of the grid's and the zoom's column: a third, up to half where there are many heads.
  columns(width) {
    const usual = Math.min(Math.max(width * 0.32, 270), 430);
    const all = Math.min(this.heads * 14 + 36, width * 0.46);
    const left = Math.round(Math.max(usual, all));
    return [left, width - left - 24];
  }

  fillBest() {
    const all = Array.from(this.arrays.scores.values, (score, index) => [score, index]);
    const size = (score) => (this.scoreMap.diverging ? Math.abs(score) : score);
    const best = all.filter(([score]) => Number.isFinite(score)).sort((a, b) => size(b[0]) - size(a[0]));
    const word = this.scoreMap.diverging ? "Strongest:" : "Highest:";
    this.best.replaceChildren(make("span", "muted", null, best.length ? word : ""));
    for (const [score, index] of best.slice(0, 5)) {
      const head = [Math.floor(index / this.heads), index % this.heads];
      const button = make("button", "", this.best, `L${head[0]}H${head[1]} ${number(score)}`);
      button.type = "button";
      button.setAttribute("aria-pressed", String(head[0] === this.locked[0] && head[1] === this.locked[1]));
      button.onclick = () => this.lock(head);
      button.onpointerenter = () => this.setCursor(head);
      button.onpointerleave = () => this.setCursor(null);
    }
  }

  // The cell that the lists speak of: hovered, held, or the last query's strongest key.
  focusCell() {
    if (this.cell ?? this.pinned) return this.cell ?? this.pinned;
    const last = this.tokens.length - 1;
    let best = 0;
    for (let key = 1; key <= last; key++) {
      if (Math.abs(this.weight([last, key])) > Math.abs(this.weight([last, best]))) best = key;
    }
    return [last, best];
  }

  // --- a frame ------------------------------------------------------------------------------

  paint() {
    this.grid.paint();
    this.zoom.paint();
    this.writeWords();
  }

  writeWords() {
    const shown = this.shown();
    const exact = this.isExact();
    const put = (element, text) => {
      if (element.textContent !== text) element.textContent = text;
    };
    const pooled = this.tokens.length > this.side ? `, pooled to ${this.side} × ${this.side}` : "";
    const waiting = this.pending && shown === this.pending ? "fetching exact values …" : "";
    put(this.live, this.headText(shown));
    put(this.note, exact ? this.header.title : waiting || `preview${pooled}: click or Enter to lock`);
    const [layer, head] = this.locked;
    const elsewhere = `numbers are of the locked L${layer}H${head}`;
    put(this.readout, exact ? this.cellText(this.focusCell()) : elsewhere);
    this.lists.style.opacity = exact ? "1" : "0.45";
    this.zoom.canvas.style.opacity = waiting ? "0.7" : "1";
    this.writeLists();
  }

  // Lists are always of the locked head: its numbers are exact.
  writeLists() {
    const [query, key] = this.focusCell();
    const stamp = `${this.header.id} ${this.look} ${query} ${key}`;
    if (this.listed === stamp) return;
    this.listed = stamp;
    const name = (index) => `${cut(this.tokens[index][0], 14)} (${index})`;
    this.looksAt.show(`${name(query)} looks at`, this.strongest((other) => [query, other]));
    this.lookedAt.show(`${name(key)} is looked at by`, this.strongest((other) => [other, key]));
  }

  strongest(cellOf) {
    const all = this.tokens.map((token, index) => ({ token, index, value: this.weight(cellOf(index)) }));
    const size = ({ value }) => (Number.isFinite(value) ? Math.abs(value) : 0);
    const { css } = this.patternMap;
    return all
      .filter((item) => size(item) > 0)
      .sort((one, other) => size(other) - size(one))
      .slice(0, TOP)
      .map(({ token, index, value }) => ({
        word: `${String(index).padStart(3)} ${token[0]}`,
        title: token[1],
        share: Math.abs(value) / this.header.limit,
        colour: value < 0 ? css[50] : css[this.header.signed ? 206 : 190],
        figure: exactly(value),
      }));
  }
}

export default function (component) {
  return mounted(AttentionView, component);
}
