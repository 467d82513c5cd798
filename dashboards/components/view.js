// Shared by the canvases: nodes, legends, bars, the tooltip, and the life of a view on the page.
// Text is only ever drawn by fillText or set by textContent: a prompt may hold HTML.

function make(tag, classes, parent, text) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

// The cell one arrow key away, null for any other key; `up` is what ArrowUp adds to the row.
function stepped(key, [row, column], rows, columns, up = -1) {
  const moves = { ArrowUp: [up, 0], ArrowDown: [-up, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (!(key in moves)) return null;
  const [down, right] = moves[key];
  const within = (index, count) => Math.min(Math.max(index, 0), count - 1);
  return [within(row + down, rows), within(column + right, columns)];
}

// Gives the canvas its size in CSS pixels and a brush scaled to the device's.
function sized(canvas, width, height, ratio) {
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const brush = canvas.getContext("2d");
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  return brush;
}

function legend(place, map, name, theme, withNone) {
  place.replaceChildren();
  make("span", "muted", place, name);
  make("span", "", place, number(map.bottom));
  make("span", "ramp", place).style.background = map.ramp;
  make("span", "", place, number(map.top));
  if (map.diverging) make("span", "muted", place, "(centre 0)");
  if (withNone) {
    const none = make("span", "none", place);
    none.style.background =
      `repeating-linear-gradient(-45deg, ${theme.grey} 0 2px, ${theme.faint} 2px 3px)`;
    make("span", "muted", place, "n/a").title = "not defined";
  }
}

// A heading and up to `most` bars; its nodes are made once and written again on every hover.
class Ranked {
  constructor(parent, most) {
    this.box = make("div", "ranked", parent);
    this.heading = make("div", "heading", this.box);
    this.rows = Array.from({ length: most }, () => {
      const row = make("div", "row", this.box);
      const word = make("span", "word", row);
      const fill = make("div", "fill", make("div", "track", row));
      return { row, word, fill, figure: make("span", "figure", row) };
    });
  }

  show(heading, items) {
    this.heading.textContent = heading;
    this.rows.forEach(({ row, word, fill, figure }, index) => {
      const item = items[index];
      row.hidden = !item;
      if (!item) return;
      word.textContent = item.word;
      word.title = item.title;
      fill.style.width = `${Math.min(Math.max(item.share, 0), 1) * 100}%`;
      fill.style.background = item.colour;
      figure.textContent = item.figure;
    });
  }
}

class Tip {
  constructor(root) {
    this.root = root;
    this.box = make("div", "tip", root);
    this.first = make("div", "", this.box);
    this.second = make("div", "muted mono", this.box);
    this.hide();
  }

  hide() {
    this.box.hidden = true;
  }

  // `x`, `y` in the window's pixels. Kept inside the root on the side where there is room.
  show(x, y, first, second = "") {
    this.first.textContent = first;
    this.second.textContent = second;
    this.box.hidden = false;
    const frame = this.root.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.box;
    const left = x - frame.left + 14;
    const top = y - frame.top + 16;
    const flipX = left + width > frame.width ? Math.max(0, left - width - 28) : left;
    const flipY = top + height > frame.height ? top - height - 30 : top;
    this.box.style.transform = `translate(${Math.round(flipX)}px, ${Math.round(flipY)}px)`;
  }
}

// What every canvas view does alike: one drawing per frame, a new layout when width or screen
// changes, one drawing when the fonts have come, and nothing left behind.
class View {
  constructor(parent, name) {
    this.root = make("div", `wb ${name}`, parent);
    this.name = name;
    this.frame = 0;
    this.calls = 0;
    this.faces = 0;
    this.off = new AbortController();
    this.tip = new Tip(this.root);
    this.watch = new ResizeObserver(() => {
      const moved = Math.abs(this.root.clientWidth - this.width) >= 1;
      if (this.header && (moved || devicePixelRatio !== this.ratio)) this.relayout();
    });
  }

  listen(target, kind, action) {
    target.addEventListener(kind, action, { signal: this.off.signal });
  }

  // Called by Streamlit at each run and each change of theme; draws only if something changed.
  receive({ data, setTriggerValue }) {
    this.send = setTriggerValue;
    const head = headerOf(data);
    const theme = readTheme(this.root);
    const look = JSON.stringify(theme);
    const sameData = this.header?.id === head.header.id;
    if (sameData && this.look === look) return this.settled?.();
    performance.clearMarks(`${this.name}-data`);
    performance.mark(`${this.name}-data`);
    if (!sameData) {
      this.header = head.header;
      this.accept(head.header, arraysOf(data, head));
    }
    this.theme = theme;
    this.look = look;
    this.relayout();
    if (this.watched) return;
    this.watched = true;
    this.watch.observe(this.root);
    if (document.fonts.check(`12px ${theme.mono}`)) return;
    document.fonts.load(`12px ${theme.mono}`).then(
      (faces) => {
        if (!faces.length || this.off.signal.aborted) return;
        this.faces = faces.length;
        this.relayout();
      },
      () => {}, // without the font the text stays as it is
    );
  }

  relayout() {
    this.width = this.root.clientWidth;
    this.ratio = devicePixelRatio || 1;
    if (!this.width) return;
    this.layout();
    this.paint();
    this.root.dataset.drawn = String(performance.now());
    performance.clearMarks(`${this.name}-drawn`);
    performance.mark(`${this.name}-drawn`);
  }

  touch() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
      this.root.dataset.painted = String(performance.now());
    });
  }

  // A button that saves one picture; `part` tells what it is of: canvas, title, legend, name.
  saver(parent, testid, part) {
    const button = make("button", "save", parent, "PNG");
    button.type = "button";
    button.title = "Save this picture as a PNG, at twice its size";
    button.dataset.testid = testid;
    this.listen(button, "click", () => {
      Object.assign(this, { ratio: 2, whole: true }); // drawn anew, with what a page scrolls away
      this.layout();
      this.paint();
      const { name, ...told } = part();
      const picture = framed(this, told);
      this.whole = false;
      this.relayout();
      saved(picture, `${this.header.file}-${name}`);
    });
  }

  destroy() {
    cancelAnimationFrame(this.frame);
    this.off.abort();
    this.watch.disconnect();
    this.root.remove();
  }
}

// One view per place on the page. Streamlit may clean up after an early call when a later one has
// begun, so a clean-up counts only if its call was the last.
const views = new WeakMap();

function mounted(kind, component) {
  const { parentElement } = component;
  let view = views.get(parentElement);
  if (!view) views.set(parentElement, (view = new kind(parentElement)));
  const call = ++view.calls;
  view.receive(component);
  return () => {
    if (view.calls !== call) return;
    view.destroy();
    views.delete(parentElement);
  };
}
