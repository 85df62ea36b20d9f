/**
 * How a picture of any size becomes the input of the model: what clf_runtime.inputs.geometry does on a device.
 *
 * A picture is { pixels, width, height, channels } with interleaved 8-bit pixels, [height, width, channels].
 */

import { resize } from "./resize.js";

/**
 * An upright RGBA picture as the input: RGB or grey, of the input's size unless the graph itself resizes.
 *
 * `card` states channels, height, width, fit (stretch, pad, crop), background ([r, g, b], or null, which leaves
 * what is transparent in the colours that it hides) and resizes (whether the graph does).
 */
export function toInput(rgba, card) {
  let picture = flatten(rgba, card.background);
  if (card.channels === 1) {
    picture = toGrey(picture);
  }
  if (card.resizes || (picture.width === card.width && picture.height === card.height)) {
    return picture;
  }
  if (card.fit === "pad") {
    return pad(picture, card);
  }
  if (card.fit === "crop") {
    picture = crop(picture, card);
  }
  return resize(picture, card.width, card.height);
}

/** RGBA composited onto the background, in Pillow's integer arithmetic. */
function flatten({ pixels, width, height }, background) {
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, at = 0; from < pixels.length; from += 4) {
    const alpha = background === null ? 255 : pixels[from + 3];
    for (let channel = 0; channel < 3; channel++) {
      const value = pixels[from + channel];
      if (alpha === 255) {
        rgb[at++] = value;
      } else {
        const sum = value * alpha + background[channel] * (255 - alpha) + 128;
        rgb[at++] = ((sum >> 8) + sum) >> 8;
      }
    }
  }
  return { pixels: rgb, width, height, channels: 3 };
}

/** Luma by ITU-R 601-2, in Pillow's integer arithmetic. */
function luma(red, green, blue) {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

function toGrey({ pixels, width, height }) {
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = luma(pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]);
  }
  return { pixels: grey, width, height, channels: 1 };
}

/** The largest middle part that has the proportions of the input; sides are rounded, halves up. */
function crop(picture, { width, height }) {
  if (picture.width * height > picture.height * width) {
    const part = Math.max(1, Math.floor((2 * picture.height * width + height) / (2 * height)));
    return cut(picture, Math.floor((picture.width - part) / 2), 0, part, picture.height);
  }
  const part = Math.max(1, Math.floor((2 * picture.width * height + width) / (2 * width)));
  return cut(picture, 0, Math.floor((picture.height - part) / 2), picture.width, part);
}

function cut({ pixels, width: stride, channels }, left, top, width, height) {
  const part = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * stride + left) * channels;
    part.set(pixels.subarray(from, from + width * channels), y * width * channels);
  }
  return { pixels: part, width, height, channels };
}

/** Scaled to fit into the input, with bars of the background at two sides. */
function pad(picture, { width, height, background, channels }) {
  const [innerWidth, innerHeight] = inside(picture, width, height);
  const scaled = resize(picture, innerWidth, innerHeight);
  const colour = channels === 1 ? [luma(...background)] : background;
  const ground = Uint8Array.from({ length: width * height * channels }, (_, i) => colour[i % channels]);
  const left = Math.floor((width - innerWidth) / 2);
  const top = Math.floor((height - innerHeight) / 2);
  for (let y = 0; y < innerHeight; y++) {
    const row = scaled.pixels.subarray(y * innerWidth * channels, (y + 1) * innerWidth * channels);
    ground.set(row, ((top + y) * width + left) * channels);
  }
  return { pixels: ground, width, height, channels };
}

/** The largest [width, height] within the input of the picture's proportions; sides are rounded, halves up. */
function inside(picture, width, height) {
  if (picture.width * height > picture.height * width) {
    const numerator = 2 * picture.height * width + picture.width;
    return [width, Math.max(1, Math.floor(numerator / (2 * picture.width)))];
  }
  const numerator = 2 * picture.width * height + picture.height;
  return [Math.max(1, Math.floor(numerator / (2 * picture.height))), height];
}
