/** The model in onnxruntime-web: one session, on the processor, by one thread. */

import { readBytes } from "./resources.js";

/** Load onnxruntime-web and open the model: a function from a tensor to its answer. */
export async function openModel({ runtime, wasm, model }) {
  const [code, wasmBinary, bytes] = await Promise.all([runtime, wasm, model].map(readBytes));
  const ort = await importBytes(code);
  // Several threads need headers that a plain file server does not send; a small model gains nothing by them.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasmBinary;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  const [input] = session.inputNames;
  const [probabilities, familiarity] = session.outputNames;
  let before = Promise.resolve();

  /**
   * One image { type, data, dims } as { probabilities, familiarity, milliseconds }; familiarity may be null.
   * Images are answered one after another, as a session requires.
   */
  return function answer(image) {
    const now = before.then(() => run(image));
    before = now.catch(() => {});
    return now;
  };

  async function run({ type, data, dims }) {
    const start = performance.now();
    const outputs = await session.run({ [input]: new ort.Tensor(type, data, dims) });
    const milliseconds = performance.now() - start;
    const found = Array.from(outputs[probabilities].data);
    if (!isDistribution(found)) {
      throw new Error("The model's output is not a probability distribution.");
    }
    return { probabilities: found, familiarity: outputs[familiarity]?.data[0] ?? null, milliseconds };
  }
}

/** Import a module from bytes whose integrity was checked, which an import by its address does not do. */
async function importBytes(bytes) {
  const url = URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

function isDistribution(probabilities) {
  const sum = probabilities.reduce((a, b) => a + b, 0);
  return probabilities.every((p) => p >= 0) && Math.abs(sum - 1) <= 1e-3;
}

/** The index of the largest value; the first of several. */
export function argmax(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}
