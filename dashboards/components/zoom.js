// One head, query rows by key columns, with its tokens on both axes. The locked head is drawn from
// its floats, any other from its thumbnail.
class Zoom {
  constructor(canvas, view) {
    this.canvas = canvas;
    this.view = view;
    this.axes = document.createElement("canvas");
  }

  layout(room) {
    const { theme, ratio, tokens } = this.view;
    const count = tokens.length;
    const pen = this.axes.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.font = `11px ${theme.mono}`;
    const words = tokens.map(([text], index) => [cut(text, 12), String(index)]);
    const longest = Math.max(...words.map(([text, index]) => pen.measureText(`${text} ${index}`).width));
    const margin = 18 + Math.ceil(longest) + 8;
    const most = Math.min(Math.max(room - margin - 4, 120), 520, Math.max(count * 46, 150));
    const fine = Math.floor((most * ratio) / count);
    const size = fine >= 1 ? (fine * count) / ratio : most;
    this.spot = { margin, size, cell: size / count, words };
    const width = Math.ceil(margin + size + 3);
    const height = Math.ceil(margin + size + 3);
    sized(this.canvas, width, height, ratio);
    this.drawAxes(sized(this.axes, width, height, ratio));
    this.exact = this.bitmap(this.patternPixels(fine >= 1 ? count : Math.floor(size * ratio)));
    this.previewOf = null;
  }

  // The exact pattern as colours; pooled only where there are more tokens than pixels.
  patternPixels(side) {
    const { values, shape } = this.view.arrays.pattern;
    const shown = side < shape[0] ? pool(values, 0, shape[0], side, 0) : values;
    const none = 0xff808080;
    return [Uint32Array.from(shown, (value) => {
      const entry = this.view.patternMap.at(value);
      return entry < 0 ? none : this.view.patternMap.words[entry];
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
    const index = layer * this.view.heads + head;
    if (this.previewOf === index) return this.previewed;
    const length = this.view.side * this.view.side;
    const bytes = this.view.arrays.thumbnails.values.subarray(index * length, (index + 1) * length);
    this.previewOf = index;
    this.previewed = this.bitmap([
      Uint32Array.from(bytes, (byte) => this.view.patternMap.words[byte]), this.view.side,
    ]);
    return this.previewed;
  }

  drawAxes(brush) {
    const { theme } = this.view;
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
    const { theme } = this.view;
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
      const wide = brush.measureText(`${text} ${position}`).width + 6;
      brush.fillStyle = theme.paper; // no part of a neighbour's label shows beside this one
      brush.fillRect(isQuery ? 22 - margin : -2, -8, margin - 20, 16);
      brush.fillStyle = theme.ink;
      brush.fillRect(isQuery ? 2 - wide : -2, -8, wide, 16);
    }
    brush.fillStyle = strong ? theme.paper : theme.faint;
    brush.fillText(position, 0, 0);
    brush.fillStyle = strong ? theme.paper : theme.ink;
    brush.fillText(text, away, 0);
    brush.restore();
  }

  cellAt({ offsetX, offsetY }) {
    const { margin, cell } = this.spot;
    const key = Math.floor((offsetX - margin) / cell);
    const query = Math.floor((offsetY - margin) / cell);
    const count = this.view.tokens.length;
    return query >= 0 && query < count && key >= 0 && key < count ? [query, key] : null;
  }

  paint() {
    const { theme, ratio, pinned, cell: pointed } = this.view;
    const { margin, size, cell } = this.spot;
    const brush = this.canvas.getContext("2d");
    const exact = this.view.isExact();
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.drawImage(this.axes, 0, 0);
    brush.imageSmoothingEnabled = false;
    const source = exact ? this.exact : this.preview(this.view.shown());
    brush.drawImage(source, Math.round(margin * ratio), Math.round(margin * ratio),
      Math.round(size * ratio), Math.round(size * ratio));
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.strokeStyle = theme.line;
    brush.lineWidth = 1;
    brush.strokeRect(margin - 0.5, margin - 0.5, size + 1, size + 1);
    if (!exact) return;
    if (pinned) this.cross(brush, pinned, theme.ink, cell);
    if (pointed) this.cross(brush, pointed, theme.primary, cell);
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
}
