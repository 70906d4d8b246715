// Loads a TF.js model from files, runs it on a fixed input, and prints what came out.
//
//     node load_tfjs.mjs LIBRARY MODEL
//
// LIBRARY is a directory with @tensorflow/tfjs in node_modules, MODEL one with model.json. Printed is a JSON object:
// output → [shape, sha256 of the bytes]. @tensorflow/tfjs alone knows no files, only addresses: the handler below reads them.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [library, model] = process.argv.slice(2);
console.warn = () => {}; // it recommends the native backend
const tf = createRequire(join(resolve(library), 'package.json'))('@tensorflow/tfjs');

const files = {
  async load() {
    const { weightsManifest, modelTopology, ...rest } = JSON.parse(await readFile(join(model, 'model.json'), 'utf8'));
    const shards = weightsManifest.flatMap((group) => group.paths);
    const weights = Buffer.concat(await Promise.all(shards.map((path) => readFile(join(model, path)))));
    return {
      ...rest,
      modelTopology,
      weightSpecs: weightsManifest.flatMap((group) => group.weights),
      weightData: new Uint8Array(weights).buffer,
    };
  },
};

// One input, the same in every run: a tone that swells.
function example({ shape }) {
  const sizes = shape.map((size) => Math.max(size, 1));
  const length = sizes.reduce((product, size) => product * size);
  const samples = Float32Array.from({ length }, (_, n) => (n / length) * Math.sin(n / 8));
  return tf.tensor(samples, sizes);
}

await tf.setBackend('cpu');
const loaded = await tf.loadGraphModel(files);
const outputs = await loaded.executeAsync(loaded.inputs.map(example), loaded.outputs.map(({ name }) => name));
const described = [outputs].flat().map((tensor, n) => {
  const { buffer, byteOffset, byteLength } = tensor.dataSync();
  const digest = createHash('sha256').update(new Uint8Array(buffer, byteOffset, byteLength)).digest('hex');
  return [loaded.outputs[n].name, [tensor.shape, digest]];
});
console.log(JSON.stringify(Object.fromEntries(described)));
