// A canvas with its title, legend and what it was made from around it, to be saved as a PNG.

const EDGE = 16; // CSS pixels around the picture

function framed({ theme, header }, { canvas, title, map, value }) {
  const picture = document.createElement("canvas");
  const pen = picture.getContext("2d");
  const across = parseFloat(canvas.style.width);
  const room = Math.max(across, 420);
  const heading = { font: `bold 15px ${theme.font}`, line: 20 };
  const small = { font: `11px ${theme.font}`, line: 15 };
  heading.text = broken(pen, heading.font, title, room);
  small.text = broken(pen, small.font, header.about, room);
  const top = EDGE + heading.text.length * heading.line + (map ? 26 : 6);
  const bottom = top + parseFloat(canvas.style.height) + 12;
  const height = bottom + small.text.length * small.line + EDGE;
  const brush = sized(picture, room + 2 * EDGE, height, 2);
  brush.fillStyle = theme.paper;
  brush.fillRect(0, 0, room + 2 * EDGE, height);
  brush.textBaseline = "top";
  brush.fillStyle = theme.ink;
  written(brush, heading, EDGE);
  if (map) ramp(brush, theme, map, value, top - 22);
  brush.drawImage(canvas, EDGE, top, across, parseFloat(canvas.style.height));
  brush.fillStyle = theme.faint;
  written(brush, small, bottom);
  return picture;
}

function written(brush, { font, line, text }, top) {
  brush.font = font;
  brush.textAlign = "left";
  text.forEach((words, index) => brush.fillText(words, EDGE, top + index * line));
}

function ramp(brush, theme, map, value, top) {
  brush.font = `12px ${theme.font}`;
  brush.textAlign = "left";
  brush.fillStyle = theme.faint;
  let left = EDGE;
  const word = (text) => {
    brush.fillText(text, left, top);
    left += brush.measureText(text).width + 6;
  };
  word(value);
  word(number(map.bottom));
  const colours = brush.createLinearGradient(left, 0, left + 84, 0);
  map.css.forEach((colour, index) => colours.addColorStop(index / 255, colour));
  brush.fillStyle = colours;
  brush.fillRect(left, top, 84, 10);
  brush.strokeStyle = theme.line;
  brush.lineWidth = 1;
  brush.strokeRect(left, top, 84, 10);
  left += 90;
  brush.fillStyle = theme.faint;
  word(number(map.top));
  if (map.diverging) word("(centre 0)");
}

// Lines no wider than `room`; a word that is wider by itself is broken anywhere.
function broken(pen, font, text, room) {
  pen.font = font;
  const fits = (words) => pen.measureText(words).width <= room;
  const lines = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line ? `${line} ${word}` : word;
    if (fits(longer)) {
      line = longer;
      continue;
    }
    if (line) lines.push(line);
    line = "";
    for (const letter of word) {
      if (!fits(line + letter)) {
        lines.push(line);
        line = "";
      }
      line += letter;
    }
  }
  return [...lines, line];
}

function saved(picture, name) {
  picture.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${name.replace(/[^\w.-]+/g, "-")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }, "image/png");
}
