// Shared by the canvases and put in front of each script: theme, colour maps, numbers, bytes.

// Each arm runs from the page's background (value 0) to its strongest colour.
const ARMS = {
  light: {
    blue: ["#c6dbef", "#6baed6", "#2171b5", "#08306b"],
    red: ["#fddbc7", "#f4a582", "#d6604d", "#67001f"],
    orange: ["#fdd0a2", "#fd8d3c", "#d94801", "#7f2704"],
    purple: ["#dadaeb", "#9e9ac8", "#6a51a3", "#3f007d"],
  },
  dark: {
    blue: ["#123a63", "#1f6fb2", "#58a9e6", "#b5ddff"],
    red: ["#4f1d18", "#ab3f32", "#ec7862", "#ffbfae"],
    orange: ["#4a2a08", "#a3560a", "#f08a24", "#ffcb85"],
    purple: ["#2f2455", "#5f4ba5", "#9a88e4", "#d0c4ff"],
  },
};

function rgbOf(text) {
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  brush.fillStyle = text;
  brush.fillRect(0, 0, 1, 1);
  return Array.from(brush.getImageData(0, 0, 1, 1).data.slice(0, 3));
}

function luminance([red, green, blue]) {
  const linear = (part) => ((part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

function mix(one, other, share) {
  return one.map((part, index) => Math.round(part + (other[index] - part) * share));
}

function readTheme(element) {
  const style = getComputedStyle(element);
  const read = (name, otherwise) => {
    const text = style.getPropertyValue(name).trim();
    return !text || text === "unset" ? otherwise : text;
  };
  const background = rgbOf(read("--st-background-color", "#ffffff"));
  const text = rgbOf(read("--st-text-color", "#31333f"));
  const css = (rgb) => `rgb(${rgb.join(",")})`;
  return {
    dark: luminance(background) < 0.2,
    background,
    paper: css(background),
    ink: css(text),
    faint: css(mix(background, text, 0.62)),
    line: css(mix(background, text, 0.22)),
    grey: css(mix(background, text, 0.12)),
    primary: read("--st-primary-color", "#ff4b4b"),
    font: read("--st-font", "sans-serif"),
    mono: read("--st-code-font", "monospace"),
  };
}

function armColours(theme, hue) {
  return [theme.background, ...ARMS[theme.dark ? "dark" : "light"][hue].map(rgbOf)];
}

function alongArm(stops, share) {
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const left = Math.min(Math.floor(at), stops.length - 2);
  return mix(stops[left], stops[left + 1], at - left);
}

// 256 colours for [low, high]. If 0 lies between, they diverge: entry 128 is exactly 0 and the
// scale is symmetric; otherwise one hue. `at(value)` is the entry, -1 for a value not defined.
function colourMap(theme, low, high, hue, oppositeHue) {
  const diverging = low < 0 && high > 0;
  const reach = Math.max(-low, high);
  const [bottom, top] = diverging ? [-reach, reach] : [low, high];
  const up = armColours(theme, hue);
  const down = armColours(theme, oppositeHue);
  const colours = Array.from({ length: 256 }, (_, index) => {
    if (!diverging) return alongArm(up, index / 255);
    return index < 128 ? alongArm(down, (128 - index) / 127) : alongArm(up, (index - 128) / 127);
  });
  const css = colours.map((rgb) => `rgb(${rgb.join(",")})`);
  return {
    bottom,
    top,
    diverging,
    css,
    words: Uint32Array.from(colours, ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0),
    ink: colours.map((rgb) => (luminance(rgb) > 0.19 ? "#111111" : "#ffffff")),
    ramp: `linear-gradient(to right, ${css.filter((_, index) => index % 17 === 0).join(",")})`,
    at(value) {
      if (!Number.isFinite(value)) return -1;
      const index = diverging ? 128 + (127 * value) / reach : (255 * (value - low)) / (high - low);
      return Math.min(Math.max(Math.round(index), diverging ? 1 : 0), 255);
    },
  };
}

function hatch(brush, theme, ratio) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = Math.round(6 * ratio);
  const pen = tile.getContext("2d");
  pen.scale(ratio, ratio);
  pen.fillStyle = theme.grey;
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = theme.faint;
  pen.lineWidth = 0.8;
  pen.beginPath();
  for (const shift of [-6, 0, 6]) {
    pen.moveTo(shift - 1, 7);
    pen.lineTo(shift + 7, -1);
  }
  pen.stroke();
  const pattern = brush.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}

// The block that wire.pack made. Copied once: the message it lies in can go, and offsets align.
function headerOf(data) {
  const size = new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true);
  return { size, header: JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + size))) };
}

function arraysOf(data, { size, header }) {
  const buffer = data.slice(4 + size).buffer;
  const kinds = { uint8: Uint8Array, uint32: Uint32Array, float32: Float32Array };
  const arrays = {};
  for (const [name, { dtype, shape, at, id }] of Object.entries(header.arrays)) {
    const length = shape.reduce((product, size) => product * size, 1);
    arrays[name] = { values: new kinds[dtype](buffer, at, length), shape, id };
  }
  return arrays;
}

// Pools a square of `from` to `to` pixels a side by the value farthest from `zero`: a mean would
// lose thin stripes.
function pool(values, start, from, to, zero) {
  const out = new values.constructor(to * to);
  for (let row = 0; row < to; row++) {
    const top = Math.floor((row * from) / to);
    const bottom = Math.max(top + 1, Math.floor(((row + 1) * from) / to));
    for (let column = 0; column < to; column++) {
      const left = Math.floor((column * from) / to);
      const right = Math.max(left + 1, Math.floor(((column + 1) * from) / to));
      let best = zero;
      for (let y = top; y < bottom; y++) {
        for (let x = left; x < right; x++) {
          const value = values[start + y * from + x];
          if (Math.abs(value - zero) > Math.abs(best - zero)) best = value;
        }
      }
      out[row * to + column] = best;
    }
  }
  return out;
}

function number(value) {
  if (!Number.isFinite(value)) return "not defined";
  const size = Math.abs(value);
  if (size >= 1000) return value.toFixed(0);
  if (size >= 0.1 || size === 0) return value.toFixed(2);
  return size >= 0.001 ? value.toFixed(3) : value.toExponential(1);
}

function exactly(value) {
  if (!Number.isFinite(value)) return "not defined";
  return value !== 0 && Math.abs(value) < 0.00005 ? value.toExponential(2) : value.toFixed(4);
}

function cut(text, most) {
  const letters = Array.from(text);
  return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : text;
}

function fitted(brush, text, width) {
  if (brush.measureText(text).width <= width) return text;
  const letters = Array.from(text);
  while (letters.length && brush.measureText(letters.join("") + "…").width > width) letters.pop();
  return letters.length ? letters.join("") + "…" : "";
}
