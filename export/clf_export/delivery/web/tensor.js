/** Pixels as the tensor that the graph takes: its dtype, range and layout; and tensors as pixels, to show them. */

/** A picture as { type, data, dims } for a batch of one. `card` states dtype, high (1 or 255), layout and resizes. */
export function toTensor(picture, card) {
  if (card.resizes) {
    return { type: "uint8", data: inColour(picture.pixels, card), dims: [1, picture.height, picture.width, 3] };
  }
  const ordered = card.layout === "NHWC" ? picture.pixels : channelsFirst(picture);
  const data = card.dtype === "uint8" ? ordered : Float32Array.from(ordered, (v) => (card.high === 1 ? v / 255 : v));
  const { channels, height, width } = card;
  return {
    type: card.dtype,
    data,
    dims: card.layout === "NHWC" ? [1, height, width, channels] : [1, channels, height, width],
  };
}

/** What a graph that resizes takes has three channels; grey has the same value in each. */
function inColour(pixels, { channels }) {
  return channels === 3 ? pixels : Uint8Array.from({ length: 3 * pixels.length }, (_, i) => pixels[Math.floor(i / 3)]);
}

function channelsFirst({ pixels, width, height, channels }) {
  const size = width * height;
  const planes = new Uint8Array(pixels.length);
  for (let i = 0; i < size; i++) {
    for (let channel = 0; channel < channels; channel++) {
      planes[channel * size + i] = pixels[i * channels + channel];
    }
  }
  return planes;
}

/** The tensors of images that are stored one after another: little-endian, in the card's dtype and layout. */
export function storedTensors(bytes, card) {
  const { height, width } = card;
  const channels = card.resizes ? 3 : card.channels;
  const dims = card.layout === "NHWC" ? [1, height, width, channels] : [1, channels, height, width];
  const size = channels * height * width;
  const stored = card.dtype === "uint8" ? bytes : floatsOf(bytes);
  const values = card.resizes ? inColour(stored, card) : stored;
  return Array.from({ length: values.length / size }, (_, i) => {
    return { type: card.dtype, data: values.slice(i * size, (i + 1) * size), dims };
  });
}

function floatsOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** A tensor of one image as ImageData, to be looked at. */
export function toImageData({ data, dims }, { layout, dtype, high }) {
  const [height, width, channels] = layout === "NHWC" ? dims.slice(1) : [dims[2], dims[3], dims[1]];
  const size = height * width;
  const image = new ImageData(width, height);
  for (let i = 0; i < size; i++) {
    for (let channel = 0; channel < 3; channel++) {
      const from = Math.min(channel, channels - 1);
      const value = layout === "NHWC" ? data[i * channels + from] : data[from * size + i];
      image.data[4 * i + channel] = dtype === "float32" && high === 1 ? value * 255 : value;
    }
    image.data[4 * i + 3] = 255;
  }
  return image;
}
