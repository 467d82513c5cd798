class LensView extends View {
  constructor(parent) {
    super(parent, "lens");
    this.build();
    this.wire();
  }

  build() {
    const table = make("section", "table", this.root);
    const bar = make("div", "bar", table);
    this.scale = make("span", "legend", bar);
    this.saver(bar, "lens-table-png", () => this.tablePart());
    make("span", "muted", bar, "columns: input tokens; rows: layers, the last at the top");
    this.scroller = make("div", "scroller", table);
    this.runway = make("div", "runway", this.scroller);
    this.canvas = make("canvas", "", this.runway);
    this.canvas.tabIndex = 0;
    this.canvas.dataset.testid = "lens-table";
    this.canvas.setAttribute("role", "application");
    this.live = make("div", "live", table);
    this.live.setAttribute("aria-live", "polite");
    this.live.dataset.testid = "lens-live";

    const panel = make("section", "panel", this.root);
    this.ranked = new Ranked(panel, 10);
    this.ranked.box.dataset.testid = "lens-top";
    this.curve = new RankPlot(panel, this);
    this.base = document.createElement("canvas");
  }

  wire() {
    const { canvas } = this;
    this.listen(canvas, "pointermove", (event) => this.hover(this.cellAt(event), event));
    this.listen(canvas, "pointerleave", () => this.hover(null));
    this.listen(canvas, "click", (event) => this.select(this.cellAt(event)));
    this.listen(canvas, "keydown", (event) => this.key(event));
    this.listen(canvas, "blur", () => this.setCursor(null));
    this.listen(this.scroller, "scroll", () => {
      this.hover(null);
      this.stale = true;
      this.touch();
    });
  }

  // --- data ---------------------------------------------------------------------------------

  accept(header, arrays) {
    const { tokens, layers, names } = header;
    Object.assign(this, { tokens, layers, names, arrays, most: arrays.ids.shape[2] });
    this.selected = header.cell;
    this.hovered = null;
    if (this.cursor) this.cursor = header.cell;
    this.canvas.setAttribute(
      "aria-label",
      `${layers.length} layers by ${tokens.length} positions, each the most likely next token, ` +
        `shaded by ${header.value_name}. Arrow keys move, Enter selects, Escape returns.`,
    );
  }

  index([layer, pos]) {
    return layer * this.tokens.length + pos;
  }

  guess(cell, rank = 0) {
    const at = this.index(cell) * this.most + rank;
    return { name: this.names[this.arrays.ids.values[at]], prob: this.arrays.probs.values[at] };
  }

  value(cell) {
    return this.arrays.value.values[this.index(cell)];
  }

  // --- acts ---------------------------------------------------------------------------------

  hover(cell, event) {
    this.hovered = cell;
    if (cell) {
      const title = this.tokens[cell[1]][1];
      this.tip.show(event.clientX, event.clientY, this.cellText(cell), `input ${title}`);
    } else this.tip.hide();
    this.touch();
  }

  setCursor(cell) {
    this.cursor = cell;
    if (cell) this.reveal(cell[1]);
    this.touch();
  }

  select(cell) {
    if (!cell) return;
    const same = cell[0] === this.selected[0] && cell[1] === this.selected[1];
    this.selected = cell;
    this.reveal(cell[1]);
    this.touch();
    if (!same) this.send("selected", cell);
  }

  key(event) {
    const from = this.cursor ?? this.selected;
    const to = stepped(event.key, from, this.layers.length, this.tokens.length, 1);
    if (to) {
      this.hovered = null;
      this.tip.hide();
      this.setCursor(to);
    } else if (event.key === "Enter" || event.key === " ") this.select(from);
    else if (event.key === "Escape") {
      this.setCursor(null);
      this.reveal(this.selected[1]);
    } else return;
    event.preventDefault();
  }

  // Scrolls sideways until the column stands clear of the row labels.
  reveal(pos) {
    const { left, cellWidth, view } = this.place;
    const start = pos * cellWidth;
    const { scrollLeft } = this.scroller;
    if (start < scrollLeft) this.scroller.scrollLeft = start;
    const over = left + start + cellWidth - (scrollLeft + view);
    if (over > 0) this.scroller.scrollLeft = scrollLeft + over + 2;
  }

  // --- words --------------------------------------------------------------------------------

  cellText(cell) {
    const { name, prob } = this.guess(cell);
    const value = `${this.header.value_name} ${exactly(this.value(cell))}`;
    return `${this.layers[cell[0]]}, position ${cell[1]}: \`${name}\` p = ${exactly(prob)}, ${value}`;
  }

  tablePart() {
    const { canvas, map, header } = this;
    const title = `Logit lens: the most likely next token, shaded by ${header.value_name}`;
    return { canvas, title, map, value: header.value_name, name: header.value_name };
  }

  // --- layout -------------------------------------------------------------------------------

  layout() {
    const { width, theme, header } = this;
    const [low, high] = header.value_limits;
    this.map = colourMap(theme, low, high, "blue", "red");
    const kind = width >= 860 ? "wide" : width >= 480 ? "below" : "slim";
    this.root.dataset.layout = kind;
    const side = 290;
    this.root.style.gridTemplateColumns =
      kind === "wide" ? `minmax(0, 1fr) ${side}px` : "minmax(0, 1fr)";
    const room = kind === "wide" ? width - side - 24 : width;
    const missing = this.arrays.value.values.some((value) => !Number.isFinite(value));
    legend(this.scale, this.map, header.value_name, theme, missing);

    const pen = this.base.getContext("2d");
    pen.font = `11px ${theme.font}`;
    const left = Math.ceil(Math.max(...this.layers.map((name) => pen.measureText(name).width))) + 8;
    const count = this.tokens.length;
    const cellWidth = Math.floor(Math.min(Math.max((room - left - 2) / count, 64), 96));
    const rows = this.layers.length;
    const cellHeight = Math.min(Math.max(Math.floor(580 / rows), 18), 28);
    const top = 34;
    const total = left + cellWidth * count + 2;
    const view = this.whole ? total : Math.min(room, total);
    this.place = { left, top, cellWidth, cellHeight, view, total };
    this.runway.style.width = `${total}px`;
    const height = top + rows * cellHeight + 2;
    sized(this.canvas, view, height, this.ratio);
    sized(this.base, view, height, this.ratio);
    Object.assign(this.canvas.dataset, { cellWidth, cellHeight, left, top });
    const seen = `${header.id} ${width}`;
    if (seen !== this.seen) this.reveal(this.selected[1]);
    this.seen = seen;
    this.stale = true;
    this.fits = new Map(); // a name cut to the cell's width, measured once
    this.bar = `rgb(${alongArm(armColours(theme, "blue"), theme.dark ? 0.62 : 0.7).join(",")})`;
    this.listed = null;
    this.curve.layout(kind === "wide" ? side : kind === "below" ? (width - 24) / 2 : width);
  }

  // The visible part of the table at the present scroll, without what hover changes.
  drawBase() {
    const { theme, ratio, tokens, layers } = this;
    const { left, top, cellWidth, cellHeight, view } = this.place;
    const scroll = (this.drawnAt = this.whole ? 0 : this.scroller.scrollLeft);
    const brush = this.base.getContext("2d");
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.fillStyle = theme.paper;
    brush.fillRect(0, 0, this.base.width, this.base.height);
    const first = Math.max(Math.floor(scroll / cellWidth), 0);
    const last = Math.min(Math.ceil((scroll + view - left) / cellWidth), tokens.length);
    const nothing = hatch(brush, theme, ratio);
    brush.textBaseline = "middle";
    for (let pos = first; pos < last; pos++) {
      const x = left + pos * cellWidth - scroll;
      brush.textAlign = "center";
      brush.fillStyle = theme.faint;
      brush.font = `10px ${theme.font}`;
      brush.fillText(String(pos), x + cellWidth / 2, 8);
      brush.fillStyle = theme.ink;
      brush.font = `bold 11px ${theme.mono}`;
      brush.fillText(fitted(brush, tokens[pos][0], cellWidth - 6), x + cellWidth / 2, 23);
      brush.font = `11px ${theme.mono}`;
      for (let layer = 0; layer < layers.length; layer++) {
        this.drawCell(brush, [layer, pos], x, nothing);
      }
    }
    brush.fillStyle = theme.paper;
    brush.fillRect(0, 0, left - 1, this.base.height);
    brush.fillStyle = theme.faint;
    brush.font = `11px ${theme.font}`;
    brush.textAlign = "right";
    for (let layer = 0; layer < layers.length; layer++) {
      brush.fillText(layers[layer], left - 5, this.rowTop(layer) + cellHeight / 2);
    }
  }

  drawCell(brush, cell, x, nothing) {
    const { theme, map } = this;
    const { cellWidth, cellHeight } = this.place;
    const y = this.rowTop(cell[0]);
    const entry = map.at(this.value(cell));
    brush.fillStyle = entry < 0 ? nothing : map.css[entry];
    brush.fillRect(x, y, cellWidth - 1, cellHeight - 1);
    const { name } = this.guess(cell);
    if (!this.fits.has(name)) this.fits.set(name, fitted(brush, name, cellWidth - 6));
    brush.fillStyle = entry < 0 ? theme.ink : map.ink[entry];
    brush.fillText(this.fits.get(name), x + (cellWidth - 1) / 2, y + cellHeight / 2);
  }

  rowTop(layer) {
    return this.place.top + (this.layers.length - 1 - layer) * this.place.cellHeight;
  }

  cellAt({ offsetX, offsetY }) {
    const { left, top, cellWidth, cellHeight } = this.place;
    if (offsetX < left) return null;
    const pos = Math.floor((offsetX - left + this.scroller.scrollLeft) / cellWidth);
    const layer = this.layers.length - 1 - Math.floor((offsetY - top) / cellHeight);
    const inside = layer >= 0 && layer < this.layers.length && pos >= 0 && pos < this.tokens.length;
    return inside ? [layer, pos] : null;
  }

  // --- a frame ------------------------------------------------------------------------------

  paint() {
    if (this.stale) this.drawBase();
    this.stale = false;
    const { theme, ratio } = this;
    const { left, view } = this.place;
    const brush = this.canvas.getContext("2d");
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.drawImage(this.base, 0, 0);
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.save();
    brush.beginPath();
    brush.rect(left - 2, 0, view - left + 2, this.canvas.height);
    brush.clip();
    this.outline(brush, this.selected, theme.ink, []);
    if (this.hovered) this.outline(brush, this.hovered, theme.primary, []);
    if (this.cursor) this.outline(brush, this.cursor, theme.primary, [5, 2]);
    brush.restore();
    this.writeWords();
  }

  outline(brush, [layer, pos], colour, dashes) {
    const { left, cellWidth, cellHeight } = this.place;
    const x = left + pos * cellWidth - this.drawnAt;
    const box = [x, this.rowTop(layer), cellWidth - 1, cellHeight - 1];
    brush.setLineDash([]);
    brush.strokeStyle = this.theme.paper;
    brush.lineWidth = 4;
    brush.strokeRect(...box);
    brush.setLineDash(dashes);
    brush.strokeStyle = colour;
    brush.lineWidth = 2;
    brush.strokeRect(...box);
  }

  writeWords() {
    const text = this.cellText(this.hovered ?? this.cursor ?? this.selected);
    if (this.live.textContent !== text) this.live.textContent = text;
    const [layer, pos] = this.selected;
    const stamp = `${this.header.id} ${this.look} ${layer} ${pos} ${this.width}`;
    if (this.listed === stamp) return;
    this.listed = stamp;
    const items = Array.from({ length: Math.min(this.most, 10) }, (_, rank) => {
      const { name, prob } = this.guess(this.selected, rank);
      const colour = this.bar;
      return { word: name, title: name, share: prob, colour, figure: exactly(prob) };
    });
    const after = `${cut(this.tokens[pos][0], 14)} (${pos})`;
    this.ranked.show(`${this.layers[layer]}, after ${after}`, items);
    this.curve.draw();
  }
}

export default function (component) {
  return mounted(LensView, component);
}
