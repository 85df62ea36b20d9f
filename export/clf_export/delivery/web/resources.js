/** What the page is given: a description as JSON, and files as bytes, beside it, on a CDN, or embedded in it. */

/** The JSON that the export wrote into the page. */
export function readPageData() {
  return JSON.parse(document.getElementById("page-data").textContent);
}

/**
 * The bytes of a file: { url, integrity }, which the browser checks, or { embedded }, the id of an element with
 * the gzipped bytes in base64.
 */
export async function readBytes({ url, integrity, embedded }) {
  if (embedded) {
    const packed = new Blob([fromBase64(document.getElementById(embedded).textContent)]);
    const unpacked = packed.stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(unpacked).arrayBuffer());
  }
  let response;
  try {
    response = await fetch(url, { integrity });
  } catch {
    throw new Error(`${url} cannot be fetched, or is not the file that this page was made for`);
  }
  if (!response.ok) {
    throw new Error(`${url} cannot be fetched: ${response.status}`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

/** The bytes of base64. */
export function fromBase64(text) {
  const characters = atob(text.trim());
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = characters.charCodeAt(i);
  }
  return bytes;
}
