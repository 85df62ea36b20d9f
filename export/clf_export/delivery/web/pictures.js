/** Pictures in any form that a browser has, as upright RGBA pixels. */

const MAX_PIXELS = 50_000_000;

/** Decode a picture file (a Blob): upright by EXIF, without colour management, of an animation the first frame. */
export async function decodePicture(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error("This browser cannot decode it as a picture.");
  }
  try {
    return rgbaOf(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

/** The pixels of anything that a canvas can draw: a bitmap, a frame of a video, another canvas. */
export function rgbaOf(source, width, height) {
  if (width * height > MAX_PIXELS) {
    throw new Error(`It has ${(width * height).toLocaleString("en")} pixels, more than the limit of 50,000,000.`);
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.drawImage(source, 0, 0, width, height);
  return { pixels: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

/** A canvas that shows RGBA pixels, at most `side` high and wide. */
export function thumbnailOf({ pixels, width, height }, side) {
  const whole = document.createElement("canvas");
  Object.assign(whole, { width, height });
  whole.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels), width, height), 0, 0);
  const scale = Math.min(1, side / Math.max(width, height));
  if (scale === 1) {
    return whole;
  }
  const small = document.createElement("canvas");
  Object.assign(small, { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, 0, 0, small.width, small.height);
  return small;
}
