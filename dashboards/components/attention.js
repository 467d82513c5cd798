const TOP = 6;

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
    this.grid = make("canvas", "", make("div", "gridbox", find));
    this.best = make("div", "best", find);

    this.lookBox = make("section", "look", this.root);
    const figure = make("div", "figure-box", this.lookBox);
    const caption = make("div", "bar", figure);
    this.live = make("span", "name", caption);
    this.live.setAttribute("aria-live", "polite");
    this.live.dataset.testid = "attention-live";
    this.note = make("span", "muted", caption);
    this.zoom = make("canvas", "", figure);
    this.patternLegend = make("div", "legend", figure);
    this.readout = make("div", "live", figure);
    this.readout.setAttribute("aria-live", "polite");
    this.readout.dataset.testid = "attention-cell";
    this.lists = make("div", "lists", this.lookBox);
    this.looksAt = new Ranked(this.lists, TOP);
    this.lookedAt = new Ranked(this.lists, TOP);
    this.looksAt.box.dataset.testid = "attention-looks-at";
    this.lookedAt.box.dataset.testid = "attention-looked-at-by";
    this.base = document.createElement("canvas");
    this.axes = document.createElement("canvas");
    for (const [canvas, testid] of [[this.grid, "attention-grid"], [this.zoom, "attention-zoom"]]) {
      canvas.tabIndex = 0;
      canvas.dataset.testid = testid;
      canvas.setAttribute("role", "application");
    }
  }

  wire() {
    const { grid, zoom } = this;
    this.listen(grid, "pointermove", (event) => this.hoverHead(this.headAt(event), event));
    this.listen(grid, "pointerleave", () => this.hoverHead(null));
    this.listen(grid, "click", (event) => this.lock(this.headAt(event)));
    this.listen(grid, "keydown", (event) => this.gridKey(event));
    this.listen(grid, "blur", () => this.setCursor(null));
    this.listen(zoom, "pointermove", (event) => this.hoverCell(this.cellAt(event), event));
    this.listen(zoom, "pointerleave", () => this.hoverCell(null));
    this.listen(zoom, "click", (event) => this.pin(this.cell ?? this.cellAt(event)));
    this.listen(zoom, "keydown", (event) => this.zoomKey(event));
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
    this.grid.setAttribute(
      "aria-label",
      `${layers} layers by ${heads} heads, coloured by ${header.score_name}. ` +
        "Arrow keys move, Enter locks a head, Escape returns to the locked one.",
    );
    this.zoom.setAttribute(
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
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const [layer, head] = this.cursor ?? this.pending ?? this.locked;
    if (event.key in move) {
      const [down, right] = move[event.key];
      this.hovered = null;
      this.setCursor([
        Math.min(Math.max(layer + down, 0), this.layers - 1),
        Math.min(Math.max(head + right, 0), this.heads - 1),
      ]);
    } else if (event.key === "Enter" || event.key === " ") this.lock([layer, head]);
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
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const last = this.tokens.length - 1;
    const [query, key] = this.cell ?? this.focusCell();
    if (event.key in move) {
      const [down, right] = move[event.key];
      this.cell = [
        Math.min(Math.max(query + down, 0), last),
        Math.min(Math.max(key + right, 0), last),
      ];
    } else if (event.key === "Enter" || event.key === " ") this.pinned = [query, key];
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

  // --- layout: everything that hover does not change is drawn here, once -------------------------

  layout() {
    const { width, theme, header } = this;
    const [low, high] = header.score_limits;
    this.scoreMap = colourMap(theme, low, high, "orange", "purple");
    const bottom = header.signed ? -header.limit : 0;
    this.patternMap = colourMap(theme, bottom, header.limit, "blue", "red");
    const kind = width >= 1060 ? "broad" : width >= 680 ? "wide" : width >= 420 ? "narrow" : "slim";
    this.root.dataset.layout = kind;
    const beside = kind === "broad" || kind === "wide";
    const left = beside ? Math.round(Math.min(Math.max(width * 0.32, 270), 430)) : width;
    this.root.style.gridTemplateColumns = beside ? `${left}px minmax(0, 1fr)` : "minmax(0, 1fr)";
    const right = beside ? width - left - 24 : width;
    const defined = this.arrays.scores.values.some((score) => !Number.isFinite(score));
    legend(this.scoreLegend, this.scoreMap, header.score_name, theme, defined);
    const what = header.signed ? "attention difference" : "attention";
    legend(this.patternLegend, this.patternMap, what, theme, false);
    this.modes.forEach((button, index) => {
      button.setAttribute("aria-pressed", String(["patterns", "scores"][index] === this.mode));
    });
    this.fillBest();
    this.layoutGrid(left - 2);
    this.layoutZoom(kind === "broad" ? right - 210 : right);
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

  layoutGrid(room) {
    const { layers, heads } = this;
    const left = layers > 9 ? 30 : 24;
    const top = 18;
    const cellWidth = Math.floor(Math.min(Math.max((room - left) / heads, 14), 64));
    const tall = Math.min(Math.max(Math.floor(600 / layers), 19), 56);
    const cellHeight = Math.min(tall, Math.max(cellWidth, 14));
    this.place = { left, top, cellWidth, cellHeight };
    const width = left + cellWidth * heads + 2;
    const height = top + cellHeight * layers + 2;
    const { score_limits, signed, limit } = this.header;
    const { scores, thumbnails } = this.arrays;
    const stamp = JSON.stringify([scores.id, thumbnails.id, scores.shape, score_limits, signed,
      limit, this.mode, this.look, this.ratio, width, height]);
    if (stamp === this.gridStamp) return; // another head was locked: the grid is as it was
    this.gridStamp = stamp;
    sized(this.grid, width, height, this.ratio);
    Object.assign(this.grid.dataset, { cellWidth, cellHeight, left, top });
    this.drawBase(sized(this.base, width, height, this.ratio));
  }

  drawBase(brush) {
    const { theme, layers, heads, ratio } = this;
    const { left, top, cellWidth, cellHeight } = this.place;
    brush.fillStyle = theme.paper;
    brush.fillRect(0, 0, this.base.width, this.base.height);
    brush.font = `11px ${theme.font}`;
    brush.fillStyle = theme.faint;
    brush.textBaseline = "middle";
    brush.textAlign = "right";
    for (let layer = 0; layer < layers; layer++) {
      brush.fillText(`L${layer}`, left - 4, top + (layer + 0.5) * cellHeight);
    }
    brush.textAlign = "center";
    const every = Math.ceil((brush.measureText(`H${heads - 1}`).width + 4) / cellWidth);
    for (let head = 0; head < heads; head += every) {
      brush.fillText(`H${head}`, left + (head + 0.5) * cellWidth, top / 2);
    }
    const nothing = hatch(brush, theme, ratio);
    const inner = { width: cellWidth - 2, height: cellHeight - 2 };
    brush.font = `10px ${theme.font}`;
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        const x = left + head * cellWidth + 1;
        const y = top + layer * cellHeight + 1;
        const score = this.score([layer, head]);
        const entry = this.scoreMap.at(score);
        brush.fillStyle = entry < 0 ? nothing : this.scoreMap.css[entry];
        brush.fillRect(x, y, inner.width, inner.height);
        brush.strokeStyle = theme.line;
        brush.lineWidth = 1 / ratio;
        brush.strokeRect(x, y, inner.width, inner.height);
        if (this.mode === "scores" && entry >= 0 && cellWidth >= 27 && cellHeight >= 14) {
          brush.fillStyle = this.scoreMap.ink[entry];
          const text = Math.abs(score) < 10 ? score.toFixed(2).replace(/^(-?)0\./, "$1.") : score.toFixed(0);
          brush.fillText(text, x + inner.width / 2, y + inner.height / 2 + 0.5);
        }
      }
    }
    if (this.mode === "patterns") this.drawThumbnails(brush);
  }

  drawThumbnails(brush) {
    const { ratio, side, arrays } = this;
    const { left, top, cellWidth, cellHeight } = this.place;
    const inset = Math.min(cellWidth, cellHeight) >= 26 ? 3 : 2;
    const size = Math.round((Math.min(cellWidth, cellHeight) - 2 * inset) * ratio);
    if (size < 2) return;
    const image = brush.createImageData(size, size);
    const pixels = new Uint32Array(image.data.buffer);
    const { words } = this.patternMap;
    const zero = this.header.signed ? 128 : 0;
    const thumbs = arrays.thumbnails.values;
    for (let index = 0; index < this.layers * this.heads; index++) {
      const start = index * side * side;
      const small = side > size ? pool(thumbs, start, side, size, zero) : null;
      for (let y = 0, at = 0; y < size; y++) {
        const row = start + Math.floor((y * side) / size) * side;
        for (let x = 0; x < size; x++, at++) {
          pixels[at] = words[small ? small[at] : thumbs[row + Math.floor((x * side) / size)]];
        }
      }
      const x = left + (index % this.heads) * cellWidth + inset;
      const y = top + Math.floor(index / this.heads) * cellHeight + inset;
      brush.putImageData(image, Math.round(x * ratio), Math.round(y * ratio));
    }
  }

  layoutZoom(room) {
    const { theme, ratio, tokens } = this;
    const count = tokens.length;
    const pen = this.axes.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.font = `11px ${theme.mono}`;
    const words = tokens.map(([text], index) => [cut(text, 12), String(index)]);
    const longest = Math.max(...words.map(([text, index]) => pen.measureText(`${text} ${index}`).width));
    const margin = 18 + Math.ceil(longest) + 8;
    const most = Math.min(Math.max(room - margin - 4, 120), 520, count * 46);
    const fine = Math.floor((most * ratio) / count);
    const size = fine >= 1 ? (fine * count) / ratio : most;
    this.spot = { margin, size, cell: size / count, words };
    const width = Math.ceil(margin + size + 3);
    const height = Math.ceil(margin + size + 3);
    sized(this.zoom, width, height, ratio);
    this.drawAxes(sized(this.axes, width, height, ratio));
    this.exact = this.bitmap(this.patternPixels(fine >= 1 ? count : Math.floor(size * ratio)));
    this.previewOf = null;
  }

  // The exact pattern as colours; pooled only where there are more tokens than pixels.
  patternPixels(side) {
    const { values, shape } = this.arrays.pattern;
    const shown = side < shape[0] ? pool(values, 0, shape[0], side, 0) : values;
    const none = 0xff808080;
    return [Uint32Array.from(shown, (value) => {
      const entry = this.patternMap.at(value);
      return entry < 0 ? none : this.patternMap.words[entry];
    }), side];
  }

  bitmap([words, side]) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const image = new ImageData(new Uint8ClampedArray(words.buffer), side, side);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  preview([layer, head]) {
    const index = layer * this.heads + head;
    if (this.previewOf === index) return this.previewed;
    const length = this.side * this.side;
    const bytes = this.arrays.thumbnails.values.subarray(index * length, (index + 1) * length);
    this.previewOf = index;
    this.previewed = this.bitmap([
      Uint32Array.from(bytes, (byte) => this.patternMap.words[byte]), this.side,
    ]);
    return this.previewed;
  }

  drawAxes(brush) {
    const { theme } = this;
    const { margin, size, cell, words } = this.spot;
    brush.fillStyle = theme.paper;
    brush.fillRect(0, 0, this.axes.width, this.axes.height);
    const every = Math.ceil(13 / cell);
    brush.textBaseline = "middle";
    for (let index = 0; index < words.length; index += every) this.axisWord(brush, index, true, false);
    for (let index = 0; index < words.length; index += every) this.axisWord(brush, index, false, false);
    brush.font = `12px ${theme.font}`;
    brush.fillStyle = theme.ink;
    brush.textAlign = "center";
    const middle = margin + size / 2;
    const left = (text) => Math.max(middle, brush.measureText(text).width / 2 + 2);
    brush.fillText("Key (attended to)", left("Key (attended to)"), 8);
    brush.save();
    brush.translate(8, left("Query (attends from)"));
    brush.rotate(-Math.PI / 2);
    brush.fillText("Query (attends from)", 0, 0);
    brush.restore();
  }

  // One token's label on an axis: the index next to the matrix, then the token; `strong` is hover.
  axisWord(brush, index, isQuery, strong) {
    const { theme } = this;
    const { margin, cell, words } = this.spot;
    const [text, position] = words[index];
    brush.save();
    brush.font = `${strong ? "bold " : ""}11px ${theme.mono}`;
    brush.textBaseline = "middle";
    if (isQuery) {
      brush.translate(margin - 4, margin + (index + 0.5) * cell);
      brush.textAlign = "right";
    } else {
      brush.translate(margin + (index + 0.5) * cell, margin - 4);
      brush.rotate(-Math.PI / 2);
      brush.textAlign = "left";
    }
    const away = (isQuery ? -1 : 1) * brush.measureText(`${position} `).width;
    if (strong) {
      brush.fillStyle = theme.ink;
      const wide = brush.measureText(`${text} ${position}`).width + 6;
      brush.fillRect(isQuery ? 2 - wide : -2, -8, wide, 16);
    }
    brush.fillStyle = strong ? theme.paper : theme.faint;
    brush.fillText(position, 0, 0);
    brush.fillStyle = strong ? theme.paper : theme.ink;
    brush.fillText(text, away, 0);
    brush.restore();
  }

  // --- places -------------------------------------------------------------------------------

  headAt({ offsetX, offsetY }) {
    const { left, top, cellWidth, cellHeight } = this.place;
    const head = Math.floor((offsetX - left) / cellWidth);
    const layer = Math.floor((offsetY - top) / cellHeight);
    const inside = layer >= 0 && layer < this.layers && head >= 0 && head < this.heads;
    return inside ? [layer, head] : null;
  }

  cellAt({ offsetX, offsetY }) {
    const { margin, cell } = this.spot;
    const key = Math.floor((offsetX - margin) / cell);
    const query = Math.floor((offsetY - margin) / cell);
    const count = this.tokens.length;
    return query >= 0 && query < count && key >= 0 && key < count ? [query, key] : null;
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
    if (!this.place) return;
    this.paintGrid();
    this.paintZoom();
    this.writeWords();
  }

  paintGrid() {
    const { theme, ratio, grid } = this;
    const brush = grid.getContext("2d");
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.drawImage(this.base, 0, 0);
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.outline(brush, this.locked, theme.ink, 2.5, []);
    if (this.pending) this.outline(brush, this.pending, theme.ink, 2, [2, 2]);
    if (this.hovered) this.outline(brush, this.hovered, theme.primary, 2, []);
    if (this.cursor) this.outline(brush, this.cursor, theme.primary, 2.5, [5, 2]);
  }

  outline(brush, [layer, head], colour, width, dashes) {
    const { left, top, cellWidth, cellHeight } = this.place;
    const box = [left + head * cellWidth, top + layer * cellHeight, cellWidth, cellHeight];
    if (!dashes.length) {
      brush.strokeStyle = this.theme.paper;
      brush.lineWidth = width + 1.5;
      brush.strokeRect(...box);
    }
    brush.setLineDash(dashes);
    brush.strokeStyle = colour;
    brush.lineWidth = width;
    brush.strokeRect(...box);
    brush.setLineDash([]);
  }

  paintZoom() {
    const { theme, ratio, zoom } = this;
    const { margin, size, cell } = this.spot;
    const brush = zoom.getContext("2d");
    const exact = this.isExact();
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.drawImage(this.axes, 0, 0);
    brush.imageSmoothingEnabled = false;
    const source = exact ? this.exact : this.preview(this.shown());
    brush.drawImage(source, Math.round(margin * ratio), Math.round(margin * ratio),
      Math.round(size * ratio), Math.round(size * ratio));
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.strokeStyle = theme.line;
    brush.lineWidth = 1;
    brush.strokeRect(margin - 0.5, margin - 0.5, size + 1, size + 1);
    if (!exact) return;
    if (this.pinned) this.cross(brush, this.pinned, theme.ink, cell);
    if (this.cell) this.cross(brush, this.cell, theme.primary, cell);
  }

  cross(brush, [query, key], colour, cell) {
    const { margin, size } = this.spot;
    brush.strokeStyle = colour;
    brush.lineWidth = 1;
    brush.globalAlpha = 0.55;
    brush.strokeRect(margin, margin + query * cell - 0.5, size, cell + 1);
    brush.strokeRect(margin + key * cell - 0.5, margin, cell + 1, size);
    brush.globalAlpha = 1;
    brush.lineWidth = 2;
    brush.strokeRect(margin + key * cell - 1, margin + query * cell - 1, cell + 2, cell + 2);
    this.axisWord(brush, query, true, true);
    this.axisWord(brush, key, false, true);
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
    put(this.readout, exact ? this.cellText(this.focusCell()) : `numbers are of the locked L${layer}H${head}`);
    this.lists.style.opacity = exact ? "1" : "0.45";
    this.zoom.style.opacity = waiting ? "0.7" : "1";
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
