// One token's rank over the layers on a log axis, the most likely at the top.
class RankPlot {
  constructor(parent, view) {
    this.view = view;
    this.box = make("div", "curve", parent);
    const bar = make("div", "bar", this.box);
    this.title = make("span", "heading", bar);
    view.saver(bar, "lens-curve-png", () => this.part());
    this.canvas = make("canvas", "", this.box);
    this.canvas.dataset.testid = "lens-curve";
    this.canvas.setAttribute("role", "img");
    view.listen(this.canvas, "pointermove", (event) => this.hover(event));
    view.listen(this.canvas, "pointerleave", () => view.tip.hide());
  }

  layout(width) {
    const has = this.view.header.curve_name !== null;
    this.box.style.display = has ? "" : "none";
    if (!has) return;
    const ranks = Array.from(this.view.arrays.curve_rank.values);
    const decades = Math.max(1, Math.ceil(Math.log10(Math.max(...ranks))));
    this.chart = { width, height: 190, left: 44, top: 10, right: width - 10, bottom: 150, decades, ranks };
  }

  x(layer) {
    const { left, right, ranks } = this.chart;
    return left + 6 + ((right - left - 12) * layer) / Math.max(ranks.length - 1, 1);
  }

  y(rank) {
    const { top, bottom, decades } = this.chart;
    return top + ((bottom - top) * Math.log10(rank)) / decades;
  }

  draw() {
    if (this.view.header.curve_name === null) return;
    const { theme, header, layers, selected, bar, ratio } = this.view;
    const { width, height, left, top, right, bottom, decades, ranks } = this.chart;
    const [layer, pos] = selected;
    const stale = pos !== header.cell[1];
    const name = cut(header.curve_name, 18);
    this.title.textContent = `Rank of ${name} after position ${header.cell[1]}`;
    this.canvas.style.opacity = stale ? "0.45" : "1";
    const last = `${ranks[ranks.length - 1]} at ${layers[ranks.length - 1]}`;
    this.canvas.setAttribute("aria-label", `Rank of ${name} over layers, ${last}`);
    const brush = sized(this.canvas, width, height, ratio);
    brush.font = `11px ${theme.font}`;
    brush.textBaseline = "middle";
    for (let decade = 0; decade <= decades; decade++) {
      const y = this.y(10 ** decade);
      brush.strokeStyle = theme.line;
      brush.lineWidth = 1;
      brush.beginPath();
      brush.moveTo(left, y);
      brush.lineTo(right, y);
      brush.stroke();
      brush.fillStyle = theme.faint;
      brush.textAlign = "right";
      brush.fillText((10 ** decade).toLocaleString("en"), left - 4, y);
    }
    brush.textAlign = "center";
    const widest = Math.max(...layers.map((name) => brush.measureText(name).width)) + 10;
    const every = Math.ceil(widest / ((right - left - 12) / Math.max(ranks.length - 1, 1)));
    for (let index = ranks.length - 1; index >= 0; index -= every) {
      brush.fillText(layers[index], this.x(index), bottom + 14);
    }
    brush.fillText("layer (rank 1 = most likely, log axis)", (left + right) / 2, bottom + 32);
    brush.strokeStyle = brush.fillStyle = bar;
    brush.lineWidth = 2;
    brush.beginPath();
    ranks.forEach((rank, index) => brush.lineTo(this.x(index), this.y(rank)));
    brush.stroke();
    ranks.forEach((rank, index) => {
      brush.beginPath();
      brush.arc(this.x(index), this.y(rank), index === layer ? 5 : 2.5, 0, 7);
      brush.fill();
    });
    brush.strokeStyle = theme.ink;
    brush.beginPath();
    brush.arc(this.x(layer), this.y(ranks[layer]), 5, 0, 7);
    brush.stroke();
  }

  part() {
    const { header } = this.view;
    return { canvas: this.canvas, title: this.title.textContent, name: `rank-after-${header.cell[1]}` };
  }

  hover(event) {
    const { left, right, ranks } = this.chart;
    const step = (right - left - 12) / Math.max(ranks.length - 1, 1);
    const at = Math.round((event.offsetX - left - 6) / step);
    if (at < 0 || at >= ranks.length) return this.view.tip.hide();
    const prob = exactly(this.view.arrays.curve_prob.values[at]);
    const text = `${this.view.layers[at]}: rank ${ranks[at]}, p = ${prob}`;
    this.view.tip.show(event.clientX, event.clientY, text);
  }
}
