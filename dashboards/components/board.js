const COLOURS = ["black", "white", "empty"];
const LETTERS = ["B", "W", "E"];
const PAUSE = 900; // ms between two moves that play themselves
const REST = 150; // ms after the last step, before the page is told of it

class BoardView extends View {
  constructor(parent) {
    super(parent, "board");
    this.mode = "flip";
    this.serial = 0;
    this.changes = new Map();
    this.build();
    this.wire();
  }

  build() {
    const left = make("section", "play", this.root);
    this.tip.root = left; // beside the board stands its legend
    left.append(this.tip.box);
    const steps = make("div", "bar steps", left);
    const button = (text, name, action) => {
      const made = make("button", "", steps, text);
      made.type = "button";
      made.title = name;
      made.setAttribute("aria-label", name);
      made.dataset.testid = `board-${name.split(" ")[0].toLowerCase()}`;
      this.listen(made, "click", action);
      return made;
    };
    button("|‹", "First move", () => this.go(1));
    button("‹", "Previous move", () => this.go(this.step - 1));
    this.playButton = button("▶", "Play the game", () => this.play(!this.timer));
    button("›", "Next move", () => this.go(this.step + 1));
    button("›|", "Last move", () => this.go(this.count));
    this.slider = make("input", "", steps);
    Object.assign(this.slider, { type: "range", min: 1, step: 1 });
    this.slider.dataset.testid = "board-slider";
    this.slider.setAttribute("aria-label", "Move");
    this.listen(this.slider, "input", () => this.go(Number(this.slider.value)));
    this.status = make("div", "name status", left);
    this.status.dataset.testid = "board-status";

    this.canvas = make("canvas", "", left);
    this.canvas.tabIndex = 0;
    this.canvas.dataset.testid = "board";
    this.canvas.setAttribute("role", "application");
    this.live = make("div", "live", left);
    this.live.setAttribute("aria-live", "polite");
    this.live.dataset.testid = "board-live";

    const right = (this.side = make("section", "side", this.root));
    const bar = make("div", "bar", right);
    make("span", "muted", bar, "A click on a disc");
    const modes = make("div", "modes", bar);
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "What a click on a disc does");
    this.modes = ["flip", "erase"].map((mode) => {
      const made = make("button", "", modes, mode === "flip" ? "flips it" : "erases it");
      made.type = "button";
      made.dataset.testid = `board-mode-${mode}`;
      this.listen(made, "click", () => this.setMode(mode));
      return made;
    });
    this.reset = make("button", "save", bar, "Reset");
    this.reset.type = "button";
    this.reset.title = "Take all changes of this board back (Escape)";
    this.reset.dataset.testid = "board-reset";
    this.listen(this.reset, "click", () => this.change(new Map()));
    this.saver(bar, "board-png", () => this.part());
    this.panel = new MovePanel(right);
    this.panel.sum.setAttribute("aria-live", "polite");
    this.key = make("div", "key muted", right);
  }

  wire() {
    const { canvas } = this;
    this.listen(canvas, "pointermove", (event) => this.hover(this.cellAt(event), event));
    this.listen(canvas, "pointerleave", () => this.hover(null));
    this.listen(canvas, "click", (event) => this.toggle(this.cellAt(event), event.shiftKey));
    this.listen(canvas, "keydown", (event) => this.pressed(event));
    this.listen(canvas, "blur", () => this.setCursor(null));
  }

  // --- data ---------------------------------------------------------------------------------

  accept(header, arrays) {
    const game = header.arrays.held.id;
    this.arrays = arrays;
    [this.count, this.squares] = arrays.held.shape;
    this.size = Math.round(Math.sqrt(this.squares));
    if (game !== this.game) {
      this.play(false);
      this.step = header.move; // from then on the page follows the user's own steps
      this.cursor = null;
      this.hovered = null;
      this.tip.hide();
    }
    // An answer to an earlier click must not take a later one back.
    if (header.serial >= this.serial || game !== this.game) {
      this.serial = header.serial;
      this.changes = new Map(header.move === this.step ? (header.edit?.changes ?? []) : []);
    }
    this.game = game;
    this.slider.max = this.count;
    this.canvas.setAttribute(
      "aria-label",
      `Othello board of ${this.size} by ${this.size}. Arrow keys move over the squares, Enter ` +
        "flips a disc, Shift and Enter erases it, Escape takes changes back; Page Down and Page Up " +
        "step through the game.",
    );
  }

  // The change that the page has computed, if it is the one that is shown.
  get edit() {
    const { edit, move } = this.header;
    const same = edit && move === this.step && edit.changes.length === this.changes.size &&
      edit.changes.every(([square, what]) => this.changes.get(square) === what);
    return same ? edit : null;
  }

  get waiting() {
    return this.changes.size > 0 && !this.edit;
  }

  at(name, square) {
    return this.arrays[name].values[(this.step - 1) * this.squares + square];
  }

  // The disc as it was played, and as it is with the changes.
  played(square) {
    return this.at("held", square);
  }

  held(square) {
    const what = this.changes.get(square);
    const disc = this.played(square);
    return what === "flip" ? 1 - disc : what === "erase" ? 2 : disc;
  }

  legal(square) {
    return this.at("legal", square) === 1;
  }

  legalNow(square) {
    return this.edit ? this.arrays.edit_legal.values[square] === 1 : this.legal(square);
  }

  // What the probe reads: scores of black, white, empty.
  reading(square) {
    const from = this.edit ? square : (this.step - 1) * this.squares + square;
    const { values } = this.arrays[this.edit ? "edit_reading" : "reading"];
    return values.subarray(3 * from, 3 * from + 3);
  }

  answer(square) {
    const scores = this.reading(square);
    return scores.indexOf(Math.max(...scores));
  }

  before(square) {
    return this.at("probability", square);
  }

  after(square) {
    return this.edit ? this.arrays.edit_probability.values[square] : null;
  }

  // --- acts ---------------------------------------------------------------------------------

  go(step) {
    const to = Math.min(Math.max(step, 1), this.count);
    if (to === this.step) return;
    this.step = to;
    this.changes = new Map();
    this.hovered = null;
    this.tip.hide();
    this.touch();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.ask(), this.timer ? PAUSE * 2 : REST);
  }

  play(on) {
    clearInterval(this.timer);
    this.timer = null;
    if (on) {
      if (this.step === this.count) this.go(1);
      this.timer = setInterval(() => {
        if (this.step >= this.count) this.play(false);
        else this.go(this.step + 1);
      }, PAUSE);
    }
    this.playButton.textContent = on ? "❚❚" : "▶";
    this.playButton.setAttribute("aria-pressed", String(Boolean(on)));
  }

  setMode(mode) {
    this.mode = mode;
    this.touch();
  }

  toggle(square, other) {
    if (square === null || this.played(square) === 2) return;
    const what = (this.mode === "erase") !== Boolean(other) ? "erase" : "flip";
    const changes = new Map(this.changes);
    if (changes.get(square) === what) changes.delete(square);
    else changes.set(square, what);
    this.change(changes);
  }

  change(changes) {
    this.play(false);
    this.changes = changes;
    this.touch();
    this.ask();
  }

  ask() {
    clearTimeout(this.resting);
    this.serial += 1;
    this.send("asked", { move: this.step, changes: [...this.changes], serial: this.serial });
  }

  hover(square, event) {
    this.hovered = square;
    this.pointer = event && [event.clientX, event.clientY];
    if (square === null) this.tip.hide();
    this.touch();
  }

  setCursor(square) {
    this.cursor = square;
    this.touch();
  }

  pressed(event) {
    const from = this.cursor ?? this.header.moves[this.step - 1];
    const { size } = this;
    const to = stepped(event.key, [Math.floor(from / size), from % size], size, size);
    if (to) this.setCursor(this.cursor === null ? from : to[0] * size + to[1]);
    else if (event.key === "Enter" || event.key === " ") this.toggle(from, event.shiftKey);
    else if (event.key === "Escape") this.change(new Map());
    else if (event.key === "PageDown") this.go(this.step + 1);
    else if (event.key === "PageUp") this.go(this.step - 1);
    else return;
    this.hovered = null;
    this.tip.hide();
    event.preventDefault();
  }

  // --- words --------------------------------------------------------------------------------

  toMove() {
    return this.header.black[this.step - 1] ? 0 : 1;
  }

  // Scores as the probe names them, those of the side to move first.
  words(scores) {
    const told = (word, score) => `${word} ${score.toFixed(2)}`;
    const [black, white, empty] = scores;
    if (!this.header.relative) {
      return [told("black", black), told("white", white), told("empty", empty)].join(", ");
    }
    const [mine, theirs] = this.toMove() === 0 ? [black, white] : [white, black];
    return [told("mine", mine), told("theirs", theirs), told("empty", empty)].join(", ");
  }

  squareText(square) {
    const { header } = this;
    const disc = this.held(square);
    const what = this.changes.get(square);
    const changed = what === "flip" ? " (flipped)" : what === "erase" ? " (erased)" : "";
    const mark = disc === 2
      ? `, ${MARKS[legality(this.legal(square), this.legalNow(square))][1]}` : "";
    const right = this.answer(square) === disc ? "right" : "WRONG";
    const read = this.waiting ? "…" : `${this.words(this.reading(square))}: ${right}`;
    const after = this.after(square) === null ? "" : ` → ${this.after(square).toFixed(4)}`;
    const next = `next move ${this.before(square).toFixed(4)}${after}`;
    return [
      `${header.names[square]}: ${COLOURS[disc]}${changed}${mark}`,
      `${header.reader}: ${read}; ${next}`,
    ];
  }

  statusText() {
    const { header, step } = this;
    const side = COLOURS[this.toMove()];
    return `After move ${step} of ${this.count} (${header.names[header.moves[step - 1]]}), ${side} to move`;
  }

  sumText() {
    let mass = 0;
    let wrong = 0;
    for (let square = 0; square < this.squares; square++) {
      if (this.legal(square)) mass += this.before(square);
      if (this.answer(square) !== this.held(square)) wrong += 1;
    }
    const where = this.edit ? " of the changed board" : "";
    const read = `The probe is wrong on ${wrong} of ${this.squares} squares${where}.`;
    if (this.edit) return `${this.edit.told}. ${read}`;
    return `Illegal mass ${Math.max(0, 1 - mass).toFixed(3)}. ${read}`;
  }

  part() {
    const title = `${this.statusText()}${this.changes.size ? ", changed" : ""}: ${this.header.reader}`;
    return { canvas: this.canvas, title, name: `move ${this.step}` };
  }

  // --- layout -------------------------------------------------------------------------------

  layout() {
    const { width, theme } = this;
    const wide = width >= 700;
    this.root.dataset.layout = wide ? "wide" : "slim";
    const most = wide ? Math.min(width * 0.52, 560) : Math.min(width, 560);
    const left = 20;
    const top = 18;
    const cell = Math.max(30, Math.min(Math.floor((most - left - 4) / this.size), this.size > 6 ? 62 : 72));
    this.place = { left, top, cell };
    const across = left + cell * this.size + 3;
    const down = top + cell * this.size + 3;
    this.root.style.gridTemplateColumns = wide ? `${across}px minmax(0, 1fr)` : "minmax(0, 1fr)";
    sized(this.canvas, across, down, this.ratio);
    Object.assign(this.canvas.dataset, { left, top, cellWidth: cell, cellHeight: cell });
    this.look_ = theme.dark
      ? { wood: "#4a5763", ink: "#ffffff", line: "#2a333c", wrong: "#ff9a4d", bar: "#8fc9ff", edge: "#c6ced6" }
      : { wood: "#c3ced9", ink: "#111111", line: "#8a97a5", wrong: "#b34700", bar: "#0b4f9c", edge: "#3c4650" };
    this.key.replaceChildren();
    for (const words of [
      "Disc: the truth. Ring: what the probe reads, a share of it for each colour; none where it reads empty.",
      "Boxed: the probe is wrong, and reads B black, W white, E empty.",
      "● + −: legal, newly legal, no longer legal. Small mark: the last move. Bars and figures in %: the model's next move.",
    ]) make("div", "", this.key, words);
  }

  cellAt({ offsetX, offsetY }) {
    const { left, top, cell } = this.place;
    const column = Math.floor((offsetX - left) / cell);
    const row = Math.floor((offsetY - top) / cell);
    const inside = row >= 0 && row < this.size && column >= 0 && column < this.size;
    return inside ? row * this.size + column : null;
  }

  // --- a frame ------------------------------------------------------------------------------

  paint() {
    const { theme, ratio, size } = this;
    const { left, top, cell } = this.place;
    const brush = this.canvas.getContext("2d");
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.fillStyle = theme.paper;
    brush.fillRect(0, 0, this.canvas.width, this.canvas.height);
    brush.fillStyle = theme.ink;
    brush.font = `12px ${theme.font}`;
    brush.textAlign = "center";
    brush.textBaseline = "middle";
    for (let place = 0; place < size; place++) {
      brush.fillText("abcdefgh"[place], left + (place + 0.5) * cell, top / 2);
      brush.fillText(String(place + 1), left / 2 - 1, top + (place + 0.5) * cell);
    }
    let most = 0.05;
    for (let square = 0; square < this.squares; square++) {
      most = Math.max(most, this.before(square), this.after(square) ?? 0);
    }
    for (let square = 0; square < this.squares; square++) this.drawSquare(brush, square, most);
    if (this.hovered !== null && this.hovered !== undefined) {
      this.outline(brush, this.hovered, []);
      this.tip.show(...this.pointer, ...this.squareText(this.hovered)); // with every new number
    }
    if (this.cursor !== null && this.cursor !== undefined) this.outline(brush, this.cursor, [5, 3]);
    this.writeWords();
  }

  corner(square) {
    const { left, top, cell } = this.place;
    return [left + (square % this.size) * cell, top + Math.floor(square / this.size) * cell];
  }

  drawSquare(brush, square, most) {
    const { wood, line } = this.look_;
    const { cell } = this.place;
    const [x, y] = this.corner(square);
    brush.setLineDash([]);
    brush.fillStyle = wood;
    brush.fillRect(x, y, cell, cell);
    brush.strokeStyle = line;
    brush.lineWidth = 1;
    brush.strokeRect(x + 0.5, y + 0.5, cell, cell);
    const middle = [x + cell / 2, y + cell / 2];
    if (!this.waiting) this.drawRing(brush, square, middle);
    this.drawDisc(brush, square, middle);
    if (this.held(square) === 2) this.drawNext(brush, square, x, y, most);
    if (!this.waiting && this.answer(square) !== this.held(square)) this.drawWrong(brush, square, x, y);
    if (this.changes.has(square)) this.outline(brush, square, [], 3);
  }

  // The probe's scores as parts of a ring; negative ones, which a regression may give, count as 0.
  drawRing(brush, square, [x, y]) {
    const { edge } = this.look_;
    const { cell } = this.place;
    const shares = Array.from(this.reading(square), (score) => Math.max(score, 0));
    const sum = shares.reduce((one, other) => one + other, 0) || 1;
    const radius = 0.405 * cell;
    const faint = this.answer(square) === 2; // what it holds for little stands back
    brush.globalAlpha = faint ? 0.45 : 1;
    let from = -Math.PI / 2;
    [["#111111", shares[0]], ["#ffffff", shares[1]]].forEach(([colour, share]) => {
      const to = from + (2 * Math.PI * share) / sum;
      if (share / sum > 0.02) {
        for (const [style, more] of faint ? [[colour, 0]] : [[edge, 2], [colour, 0]]) {
          brush.strokeStyle = style;
          brush.lineWidth = 0.085 * cell + more;
          brush.beginPath();
          brush.arc(x, y, radius, from, to);
          brush.stroke();
        }
      }
      from = to;
    });
    brush.globalAlpha = 1;
  }

  drawDisc(brush, square, [x, y]) {
    const { edge } = this.look_;
    const { cell } = this.place;
    const disc = this.held(square);
    brush.beginPath();
    brush.arc(x, y, 0.315 * cell, 0, 2 * Math.PI);
    brush.lineWidth = 1.25;
    brush.strokeStyle = edge;
    if (disc < 2) {
      brush.fillStyle = disc === 0 ? "#111111" : "#ffffff";
      brush.fill();
      brush.stroke();
    } else if (this.changes.has(square)) {
      brush.setLineDash([3, 3]); // a disc was here
      brush.stroke();
      brush.setLineDash([]);
    }
    if (square === this.header.moves[this.step - 1]) {
      brush.fillStyle = disc === 0 ? "#ffffff" : "#111111";
      const half = 0.06 * cell;
      brush.fillRect(x - half, y - half, 2 * half, 2 * half);
    }
  }

  // On a square that nobody holds: legal or not, and how likely the model plays it.
  drawNext(brush, square, x, y, most) {
    const { ink, bar } = this.look_;
    const { cell } = this.place;
    const { theme } = this;
    const kind = legality(this.legal(square), this.legalNow(square));
    brush.fillStyle = ink;
    brush.textAlign = "center";
    const middle = x + cell / 2;
    if (kind === "both") {
      brush.beginPath();
      brush.arc(middle, y + 0.29 * cell, 0.05 * cell, 0, 2 * Math.PI);
      brush.fill();
    } else if (kind !== "none") {
      brush.font = `bold ${Math.round(0.26 * cell)}px ${theme.font}`;
      brush.fillText(kind === "now" ? "+" : "−", middle, y + 0.3 * cell);
    }
    const after = this.after(square);
    const shown = after ?? this.before(square);
    if (Math.max(this.before(square), after ?? 0) < 0.005) return;
    brush.font = `${Math.max(9, Math.round(0.17 * cell))}px ${theme.font}`;
    brush.fillText(`${Math.round(100 * shown)}`, middle, y + 0.51 * cell);
    const full = 0.52 * cell;
    const left = x + (cell - full) / 2;
    const high = after === null ? 0.08 * cell : 0.06 * cell;
    brush.strokeStyle = bar;
    brush.fillStyle = bar;
    brush.lineWidth = 1;
    const long = (share) => Math.max(1, (full * share) / most);
    if (after === null) brush.fillRect(left, y + 0.65 * cell, long(shown), high);
    else {
      brush.strokeRect(left + 0.5, y + 0.62 * cell, long(this.before(square)), high);
      brush.fillRect(left, y + 0.72 * cell, long(after) + 1, high);
    }
  }

  drawWrong(brush, square, x, y) {
    const { wrong } = this.look_;
    const { cell } = this.place;
    brush.strokeStyle = wrong;
    brush.lineWidth = 2.5;
    brush.strokeRect(x + 2.25, y + 2.25, cell - 3.5, cell - 3.5);
    const side = Math.max(12, 0.2 * cell);
    brush.fillStyle = wrong;
    brush.fillRect(x + 1, y + 1, side, side);
    brush.fillStyle = this.theme.dark ? "#111111" : "#ffffff";
    brush.font = `bold ${Math.round(side - 3)}px ${this.theme.font}`;
    brush.textAlign = "center";
    brush.fillText(LETTERS[this.answer(square)], x + 1 + side / 2, y + 1.5 + side / 2);
  }

  outline(brush, square, dashes, width = 2) {
    const { cell } = this.place;
    const [x, y] = this.corner(square);
    brush.setLineDash([]);
    brush.strokeStyle = this.theme.paper;
    brush.lineWidth = width + 2;
    brush.strokeRect(x + 0.5, y + 0.5, cell, cell);
    brush.setLineDash(dashes);
    brush.strokeStyle = this.theme.primary;
    brush.lineWidth = width;
    brush.strokeRect(x + 0.5, y + 0.5, cell, cell);
    brush.setLineDash([]);
  }

  writeWords() {
    const put = (element, text) => {
      if (element.textContent !== text) element.textContent = text;
    };
    put(this.status, this.statusText());
    this.slider.value = this.step;
    this.slider.setAttribute("aria-valuetext", this.statusText());
    const square = this.cursor ?? this.hovered;
    const otherwise = this.changes.size
      ? `${this.changes.size} ${this.changes.size > 1 ? "squares" : "square"} changed`
      : "Point at a square, or click a disc to change it";
    put(this.live, square === null || square === undefined ? otherwise : this.squareText(square).join("; "));
    this.reset.disabled = !this.changes.size;
    this.modes.forEach((button, index) => {
      button.setAttribute("aria-pressed", String(["flip", "erase"][index] === this.mode));
    });
    this.side.style.opacity = this.waiting ? "0.6" : "1";
    if (this.waiting) return; // the bars stand until the new ones have come
    const edited = Boolean(this.edit);
    const moves = [];
    for (let place = 0; place < this.squares; place++) {
      if (this.held(place) < 2) continue;
      moves.push({
        name: this.header.names[place],
        before: this.before(place),
        after: this.after(place),
        legal: this.legal(place),
        legalNow: this.legalNow(place),
      });
    }
    const side = COLOURS[this.toMove()];
    this.panel.show(`The model's next move, for ${side}`, moves, edited);
    this.panel.table(edited ? this.edit.table : []);
    put(this.panel.sum, this.sumText());
  }

  destroy() {
    this.play(false);
    clearTimeout(this.resting);
    super.destroy();
  }
}

export default function (component) {
  return mounted(BoardView, component);
}
