/**
 * Pillow's bilinear resize of 8-bit pixels, to the last bit: antialiased, its support grows with the reduction.
 *
 * The arithmetic is that of Pillow's Resample.c (https://github.com/python-pillow/Pillow): weights in double
 * precision, rounded to 22 binary places, sums of whole numbers. Rows are scaled first, then columns, each pass rounded
 * to 8 bits, as clf_runtime does it on a device.
 */

const PRECISION_BITS = 22;

/** Resize interleaved pixels, Uint8 [height, width, channels], to [newHeight, newWidth, channels]. */
export function resize({ pixels, width, height, channels }, newWidth, newHeight) {
  if (newWidth !== width) {
    pixels = scaleRows(pixels, width, height, channels, newWidth);
  }
  if (newHeight !== height) {
    pixels = scaleColumns(pixels, newWidth * channels, height, newHeight);
  }
  return { pixels, width: newWidth, height: newHeight, channels };
}

/** For each output position, the first input position that counts and the weights from there on. */
function bilinearWeights(size, newSize) {
  const scale = size / newSize;
  const support = Math.max(scale, 1);
  return Array.from({ length: newSize }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(size, Math.trunc(centre + support + 0.5));
    const weights = new Float64Array(end - first);
    let sum = 0;
    for (let j = 0; j < weights.length; j++) {
      weights[j] = Math.max(0, 1 - Math.abs((first + j - centre + 0.5) * (1 / support)));
      sum += weights[j];
    }
    const rounded = Int32Array.from(weights, (weight) => Math.trunc(0.5 + (weight / sum) * (1 << PRECISION_BITS)));
    return { first, weights: rounded };
  });
}

function scaleRows(pixels, width, height, channels, newWidth) {
  const scaled = new Uint8Array(height * newWidth * channels);
  const columns = bilinearWeights(width, newWidth);
  let at = 0;
  for (let y = 0; y < height; y++) {
    const row = y * width * channels;
    for (const { first, weights } of columns) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 1 << (PRECISION_BITS - 1);
        let from = row + first * channels + channel;
        for (let j = 0; j < weights.length; j++, from += channels) {
          sum += pixels[from] * weights[j];
        }
        scaled[at++] = to8Bits(sum);
      }
    }
  }
  return scaled;
}

/** Scale the height; `stride` is the number of values in a row. */
function scaleColumns(pixels, stride, height, newHeight) {
  const scaled = new Uint8Array(newHeight * stride);
  const sums = new Int32Array(stride);
  bilinearWeights(height, newHeight).forEach(({ first, weights }, y) => {
    sums.fill(1 << (PRECISION_BITS - 1));
    weights.forEach((weight, j) => {
      const row = (first + j) * stride;
      for (let x = 0; x < stride; x++) {
        sums[x] += pixels[row + x] * weight;
      }
    });
    for (let x = 0; x < stride; x++) {
      scaled[y * stride + x] = to8Bits(sums[x]);
    }
  });
  return scaled;
}

function to8Bits(sum) {
  return Math.min(255, Math.max(0, sum >> PRECISION_BITS));
}
