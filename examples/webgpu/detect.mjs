// Objects in a picture of raw RGB bytes, on any GPU that WebGPU reaches, outside of a browser:
//
//     deno run --allow-read detect.mjs DIR picture.rgb
//
// DIR is what `mdc compile … --target webgpu -o DIR` wrote; the picture has the size that the network takes.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { argv, exit } from "node:process";
import { pathToFileURL } from "node:url";

const [directory, picture] = argv.slice(2);
if (!picture) {
  console.error("give the directory of a compiled network and a file of height x width x RGB bytes");
  exit(2);
}
const folder = pathToFileURL(`${resolve(directory)}/`);
const { detections, openModel } = await import(new URL("run.mjs", folder));
const bytes = async (name) => new Uint8Array(await readFile(new URL(name, folder))).slice().buffer;
try {
  const model = await openModel(bytes);
  const [input] = model.description.inputs;
  const outputs = await model.run({ [input.name]: await readFile(picture) });
  for (const { label, score, box } of detections(outputs, model.description)) {
    console.log(label, score.toFixed(6), ...box.map((edge) => edge.toFixed(6)));
  }
  model.close();
} catch (error) {
  console.error(error.message);
  exit(1);
}
