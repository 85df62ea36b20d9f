/** The golden cases: whether this browser gives the answers of the machine that exported the model. */

import { toInput } from "./geometry.js";
import { argmax } from "./model.js";
import { decodePicture } from "./pictures.js";
import { fromBase64 } from "./resources.js";
import { storedTensors, toTensor } from "./tensor.js";

/**
 * Run the golden cases one by one, and the golden picture, which tests decoding and geometry too.
 *
 * `golden` states images, probabilities, tolerance, familiarity ([] without one), familiarityTolerance and picture.
 * Returns { cases, largest, picture, problems }: of each case the tensor, the expected and the given class and the
 * largest difference; sentences on what is wrong, none if this browser agrees.
 */
export async function selfTest(answer, golden, card) {
  const tensors = storedTensors(fromBase64(golden.images), card);
  const cases = [];
  for (const [i, tensor] of tensors.entries()) {
    const found = await answer(tensor);
    const wanted = golden.probabilities[i];
    const difference = largestDifference(found.probabilities, wanted);
    const [expected, given] = [argmax(wanted), argmax(found.probabilities)];
    const strange = golden.familiarity.length ? Math.abs(found.familiarity - golden.familiarity[i]) : 0;
    const agrees =
      expected === given && difference <= golden.tolerance && strange <= (golden.familiarityTolerance ?? 0);
    cases.push({ tensor, expected, given, difference, agrees });
  }
  const problems = [];
  const differing = cases.filter((one) => !one.agrees).length;
  if (differing) {
    problems.push(`${differing} of ${cases.length} golden cases differ.`);
  }
  const picture = golden.picture ? await testPicture(answer, golden, card) : { state: "none" };
  if (picture.problem) {
    problems.push(picture.problem);
  }
  return { cases, largest: Math.max(0, ...cases.map((one) => one.difference)), picture, problems };
}

async function testPicture(answer, { picture, tolerance }, card) {
  const input = toInput(await decodePicture(new Blob([fromBase64(picture.data)], { type: "image/png" })), card);
  const pixels = toTensor(input, { ...card, layout: "NCHW", dtype: "uint8" }).data;
  if (globalThis.crypto?.subtle) {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", pixels));
    const text = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (text !== picture.sha256) {
      return { state: "differs", problem: "This browser decodes the golden picture to other pixels than Pillow." };
    }
  }
  const found = await answer(toTensor(input, card));
  const difference = largestDifference(found.probabilities, picture.probabilities);
  if (difference > tolerance) {
    return { state: "differs", problem: `The golden picture's probabilities differ by ${difference.toExponential(1)}.` };
  }
  return { state: "agrees" };
}

function largestDifference(found, wanted) {
  return found.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i])), 0);
}
