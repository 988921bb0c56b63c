// Runs a network that mdcompiler compiled for WebGPU: model.wgsl, model.json and weights.bin beside this file.
//
//     import { openModel, filesAt } from "./run.mjs";
//     const model = await openModel(filesAt(new URL("./", import.meta.url)));
//     const outputs = await model.run({ image: pixels });      // typed arrays in, typed arrays out, by name
//     for (const found of detections(outputs, model.description)) console.log(found);
//     model.close();
//
// Every tensor is dense and row-major, in the shape that model.json states. Needs `navigator.gpu`, and nothing else.

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array, int8: Int8Array };

/** A function that fetches a file of the model as an ArrayBuffer. base: URL of its directory. */
export function filesAt(base) {
  return async (name) => {
    const response = await fetch(new URL(name, base));
    if (!response.ok) throw new Error(`fetching ${name}: ${response.status} ${response.statusText}`);
    return response.arrayBuffer();
  };
}

/** Opens a model. read: name -> ArrayBuffer of the file, see `filesAt`; gpu: a GPU object. */
export async function openModel(read, gpu = globalThis.navigator?.gpu) {
  if (!gpu) throw new Error("this browser has no WebGPU (navigator.gpu)");
  const description = JSON.parse(new TextDecoder().decode(await read("model.json")));
  if (description.format !== "mdcompiler-webgpu-1") throw new Error(`unknown format ${description.format}`);
  for (const name of description.language_features ?? []) {
    if (gpu.wgslLanguageFeatures && !gpu.wgslLanguageFeatures.has(name)) {
      throw new Error(`this browser's WGSL lacks ${name}, which the network's int8 kernels need`);
    }
  }
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("there is no GPU that this browser may use");
  const device = await adapter.requestDevice({
    requiredFeatures: description.features,
    requiredLimits: description.limits,
  });
  const [code, weights] = await Promise.all([read("model.wgsl"), read("weights.bin")]);
  if (weights.byteLength !== description.weights_bytes) throw new Error("weights.bin is incomplete");
  return Model.make(device, description, new TextDecoder().decode(code), weights);
}

/** An opened model; one `run` at a time. */
export class Model {
  static async make(device, description, code, weights) {
    const model = new Model();
    Object.assign(model, { device, description });
    model.weights = device.createBuffer({ size: Math.max(weights.byteLength, 16), usage: STORAGE | COPY_DST });
    model.arena = device.createBuffer({
      size: Math.max(description.arena_bytes, 16),
      usage: STORAGE | COPY_DST | COPY_SRC,
    });
    device.queue.writeBuffer(model.weights, 0, weights);
    model.anchors = anchorsOf(description, weights);
    model.places = inARow(description.outputs);
    model.results = device.createBuffer({ size: model.places.size, usage: MAP_READ | COPY_DST });
    model.steps = await model.compile(code);
    return model;
  }

  async compile(code) {
    const module = this.device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    const faults = messages.filter((message) => message.type === "error");
    if (faults.length) throw new Error(`model.wgsl:${faults[0].lineNum}: ${faults[0].message}`);
    const pipelines = new Map();
    for (const { entry } of this.description.launches) {
      if (!pipelines.has(entry)) {
        const compute = { module, entryPoint: entry };
        pipelines.set(entry, this.device.createComputePipelineAsync({ layout: "auto", compute }));
      }
    }
    return Promise.all(
      this.description.launches.map(async (launch) => this.step(await pipelines.get(launch.entry), launch)),
    );
  }

  step(pipeline, launch) {
    const entries = launch.bindings.map(({ buffer, offset, size }, binding) => ({
      binding,
      resource: { buffer: this[buffer], offset, size },
    }));
    const group = this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    return { pipeline, group, workgroups: launch.workgroups };
  }

  /** Runs once. inputs: name -> typed array or ArrayBuffer; returns name -> typed array. */
  async run(inputs) {
    for (const port of this.description.inputs) this.upload(port, inputs[port.name]);
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { pipeline, group, workgroups } of this.steps) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...workgroups);
    }
    pass.end();
    this.description.outputs.forEach((port, index) => {
      const size = wholeWords(bytesOf(port));
      encoder.copyBufferToBuffer(this.arena, port.offset, this.results, this.places.offsets[index], size);
    });
    this.device.queue.submit([encoder.finish()]);
    const outputs = await this.download();
    const { postprocess } = this.description;
    return postprocess ? { ...outputs, ...detect(postprocess, outputs, this.anchors) } : outputs;
  }

  upload(port, array) {
    if (array === undefined) throw new Error(`the input ${port.name} is missing`);
    const bytes = ArrayBuffer.isView(array)
      ? new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
      : new Uint8Array(array);
    if (bytes.length !== bytesOf(port)) {
      throw new Error(`${port.name} has ${bytes.length} bytes; ${port.dtype}[${port.shape}] has ${bytesOf(port)}`);
    }
    const words = new Uint8Array(wholeWords(bytes.length));
    words.set(bytes);
    this.device.queue.writeBuffer(this.arena, port.offset, words);
  }

  async download() {
    await this.results.mapAsync(1); // GPUMapMode.READ
    const all = this.results.getMappedRange().slice(0);
    this.results.unmap();
    const entries = this.description.outputs.map((port, index) => [
      port.name,
      new ARRAYS[port.dtype](all, this.places.offsets[index], elementsOf(port)),
    ]);
    return Object.fromEntries(entries);
  }

  close() {
    this.device.destroy();
  }
}

// GPUBufferUsage and GPUMapMode by their numbers in the standard: not every host has them as globals.
const MAP_READ = 0x01;
const COPY_SRC = 0x04;
const COPY_DST = 0x08;
const STORAGE = 0x80;

const elementsOf = (port) => port.shape.reduce((product, extent) => product * extent, 1);
const bytesOf = (port) => elementsOf(port) * ARRAYS[port.dtype].BYTES_PER_ELEMENT;
const wholeWords = (bytes) => Math.ceil(bytes / 4) * 4;

function inARow(ports) {
  const offsets = [];
  let size = 0;
  for (const port of ports) {
    offsets.push(size);
    size += wholeWords(bytesOf(port));
  }
  return { offsets, size: Math.max(size, 16) };
}

function anchorsOf({ postprocess }, weights) {
  return postprocess ? new Float32Array(weights, postprocess.anchors.offset, postprocess.anchors.count * 4) : null;
}

/** The detections in the outputs, best first: {box: [ymin, xmin, ymax, xmax] in 0..1, class, label, score}. */
export function detections(outputs, { postprocess, labels }) {
  const [boxes, classes, scores, count] = postprocess.outputs.map((name) => outputs[name]);
  return Array.from({ length: count[0] }, (_, row) => ({
    box: Array.from(boxes.subarray(row * 4, row * 4 + 4)),
    class: classes[row],
    label: labels[classes[row]] ?? `class ${classes[row]}`,
    score: scores[row],
  }));
}

// Box decoding and non-maximum suppression as TensorFlow Lite's TFLite_Detection_PostProcess does them.

function detect(options, outputs, anchors) {
  const boxes = decode(outputs[options.encodings], anchors, options);
  const scores = outputs[options.scores];
  const slots = scores.length / options.anchors.count;
  const rows = options.regular ? bestOfEachClass(boxes, scores, slots, options) : bestOfAll(boxes, scores, slots, options);
  const count = options.max_detections;
  const found = [new Float32Array(count * 4), new Float32Array(count), new Float32Array(count), new Float32Array(1)];
  rows.forEach(({ anchor, index, score }, row) => {
    found[0].set(boxes.subarray(anchor * 4, anchor * 4 + 4), row * 4);
    found[1][row] = index;
    found[2][row] = score;
  });
  found[3][0] = rows.length;
  return Object.fromEntries(options.outputs.map((name, index) => [name, found[index]]));
}

function decode(encodings, anchors, options) {
  const boxes = new Float32Array(anchors.length);
  const scales = [options.scale_y, options.scale_x, options.scale_h, options.scale_w].map(Math.fround);
  for (let at = 0; at < anchors.length; at += 4) {
    for (let axis = 0; axis < 2; axis += 1) {
      const size = anchors[at + 2 + axis];
      const center = Math.fround((encodings[at + axis] / scales[axis]) * size + anchors[at + axis]);
      const half = Math.fround(0.5 * Math.exp(encodings[at + 2 + axis] / scales[2 + axis]) * size);
      boxes[at + axis] = center - half;
      boxes[at + 2 + axis] = center + half;
    }
  }
  return boxes;
}

/** Fast mode: every anchor counts with its best class only. Slot 0 is the background. */
function bestOfAll(boxes, scores, slots, options) {
  const count = scores.length / slots;
  const best = new Float32Array(count);
  const index = new Int32Array(count);
  for (let anchor = 0; anchor < count; anchor += 1) {
    best[anchor] = -Infinity;
    for (let slot = 1; slot < slots; slot += 1) {
      const score = scores[anchor * slots + slot];
      if (score > best[anchor]) [best[anchor], index[anchor]] = [score, slot - 1];
    }
  }
  const kept = suppress(boxes, best, options.max_detections, options);
  return kept.map((anchor) => ({ anchor, index: index[anchor], score: best[anchor] }));
}

/** Regular mode: one suppression for each class, the best of all win. */
function bestOfEachClass(boxes, scores, slots, options) {
  const count = scores.length / slots;
  const limit = Math.min(options.detections_per_class, options.max_detections);
  const rows = [];
  for (let slot = 1; slot < slots; slot += 1) {
    const own = Float32Array.from({ length: count }, (_, anchor) => scores[anchor * slots + slot]);
    for (const anchor of suppress(boxes, own, limit, options)) {
      rows.push({ anchor, index: slot - 1, score: own[anchor] });
    }
  }
  return rows.sort((left, right) => right.score - left.score).slice(0, options.max_detections);
}

function suppress(boxes, scores, limit, options) {
  const least = Math.fround(options.score_threshold);
  const most = Math.fround(options.iou_threshold);
  const order = [];
  scores.forEach((score, anchor) => score >= least && order.push(anchor));
  order.sort((left, right) => scores[right] - scores[left] || left - right);
  const kept = [];
  for (const anchor of order) {
    if (kept.length >= limit) break;
    if (kept.every((other) => !(overlap(boxes, other * 4, anchor * 4) > most))) kept.push(anchor);
  }
  return kept;
}

function overlap(boxes, one, other) {
  const [area, areaOfOther] = [one, other].map((at) =>
    Math.fround(Math.fround(boxes[at + 2] - boxes[at]) * Math.fround(boxes[at + 3] - boxes[at + 1])),
  );
  if (!(area > 0 && areaOfOther > 0)) return 0;
  const side = (axis) =>
    Math.max(
      0,
      Math.fround(
        Math.min(boxes[one + 2 + axis], boxes[other + 2 + axis]) - Math.max(boxes[one + axis], boxes[other + axis]),
      ),
    );
  const shared = Math.fround(side(0) * side(1));
  return Math.fround(shared / Math.fround(Math.fround(area + areaOfOther) - shared));
}
