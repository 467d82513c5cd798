// All heads at once: a row for each layer, a cell for each head, coloured by its score. Drawn once
// to a canvas that is not shown; a frame copies it and adds the outlines.
class HeadGrid {
  constructor(canvas, view) {
    this.canvas = canvas;
    this.view = view;
    this.base = document.createElement("canvas");
  }

  layout(room) {
    const { layers, heads } = this.view;
    const left = layers > 9 ? 30 : 24;
    const top = 18;
    const cellWidth = Math.floor(Math.min(Math.max((room - left) / heads, 14), 64));
    const tall = Math.min(Math.max(Math.floor(600 / layers), 19), 56);
    const cellHeight = Math.min(tall, Math.max(cellWidth, 14));
    this.place = { left, top, cellWidth, cellHeight };
    const width = left + cellWidth * heads + 2;
    const height = top + cellHeight * layers + 2;
    const { score_limits, signed, limit } = this.view.header;
    const { scores, thumbnails } = this.view.arrays;
    const stamp = JSON.stringify([scores.id, thumbnails.id, scores.shape, score_limits, signed,
      limit, this.view.mode, this.view.look, this.view.faces, this.view.ratio, width, height]);
    if (stamp === this.stamp) return; // another head was locked: the grid is as it was
    this.stamp = stamp;
    sized(this.canvas, width, height, this.view.ratio);
    Object.assign(this.canvas.dataset, { cellWidth, cellHeight, left, top });
    this.drawBase(sized(this.base, width, height, this.view.ratio));
  }

  drawBase(brush) {
    const { theme, layers, heads, ratio } = this.view;
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
        const score = this.view.score([layer, head]);
        const entry = this.view.scoreMap.at(score);
        brush.fillStyle = entry < 0 ? nothing : this.view.scoreMap.css[entry];
        brush.fillRect(x, y, inner.width, inner.height);
        brush.strokeStyle = theme.line;
        brush.lineWidth = 1 / ratio;
        brush.strokeRect(x, y, inner.width, inner.height);
        if (this.view.mode === "scores" && entry >= 0 && cellWidth >= 27 && cellHeight >= 14) {
          brush.fillStyle = this.view.scoreMap.ink[entry];
          const text = Math.abs(score) < 10 ? score.toFixed(2).replace(/^(-?)0\./, "$1.") : score.toFixed(0);
          brush.fillText(text, x + inner.width / 2, y + inner.height / 2 + 0.5);
        }
      }
    }
    if (this.view.mode === "patterns") this.drawThumbnails(brush);
  }

  drawThumbnails(brush) {
    const { ratio, side, arrays, layers, heads } = this.view;
    const { left, top, cellWidth, cellHeight } = this.place;
    const inset = Math.min(cellWidth, cellHeight) >= 26 ? 3 : 2;
    const size = Math.round((Math.min(cellWidth, cellHeight) - 2 * inset) * ratio);
    if (size < 2) return;
    const image = brush.createImageData(size, size);
    const pixels = new Uint32Array(image.data.buffer);
    const { words } = this.view.patternMap;
    const zero = this.view.header.signed ? 128 : 0;
    const thumbs = arrays.thumbnails.values;
    for (let index = 0; index < layers * heads; index++) {
      const start = index * side * side;
      const small = side > size ? pool(thumbs, start, side, size, zero) : null;
      for (let y = 0, at = 0; y < size; y++) {
        const row = start + Math.floor((y * side) / size) * side;
        for (let x = 0; x < size; x++, at++) {
          pixels[at] = words[small ? small[at] : thumbs[row + Math.floor((x * side) / size)]];
        }
      }
      const x = left + (index % heads) * cellWidth + inset;
      const y = top + Math.floor(index / heads) * cellHeight + inset;
      brush.putImageData(image, Math.round(x * ratio), Math.round(y * ratio));
    }
  }

  headAt({ offsetX, offsetY }) {
    const { left, top, cellWidth, cellHeight } = this.place;
    const head = Math.floor((offsetX - left) / cellWidth);
    const layer = Math.floor((offsetY - top) / cellHeight);
    const inside = layer >= 0 && layer < this.view.layers && head >= 0 && head < this.view.heads;
    return inside ? [layer, head] : null;
  }

  // Scrolls sideways to a head that a narrow page hides.
  reveal([, head]) {
    const { left, cellWidth } = this.place;
    const box = this.canvas.parentElement;
    const x = left + head * cellWidth;
    if (x - left < box.scrollLeft) box.scrollLeft = x - left;
    else if (x + cellWidth + 6 > box.scrollLeft + box.clientWidth) {
      box.scrollLeft = x + cellWidth + 6 - box.clientWidth;
    }
  }

  paint() {
    const { theme, ratio, locked, pending, hovered, cursor } = this.view;
    const brush = this.canvas.getContext("2d");
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.drawImage(this.base, 0, 0);
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.outline(brush, locked, theme.ink, 2.5, []);
    if (pending) this.outline(brush, pending, theme.ink, 2, [2, 2]);
    if (hovered) this.outline(brush, hovered, theme.primary, 2, []);
    if (cursor) this.outline(brush, cursor, theme.primary, 2.5, [5, 2]);
  }

  outline(brush, [layer, head], colour, width, dashes) {
    const { left, top, cellWidth, cellHeight } = this.place;
    const box = [left + head * cellWidth, top + layer * cellHeight, cellWidth, cellHeight];
    if (!dashes.length) {
      brush.strokeStyle = this.view.theme.paper;
      brush.lineWidth = width + 1.5;
      brush.strokeRect(...box);
    }
    brush.setLineDash(dashes);
    brush.strokeStyle = colour;
    brush.lineWidth = width;
    brush.strokeRect(...box);
    brush.setLineDash([]);
  }
}
