/** Runs hamsa-deploy bundles in the browser. */
export { type Bundle, loadBundle } from "./bundle";
export { pixelsFromSource } from "./decoding";
export { type Arrays, defaultThreads, type Device, Engine, type Label, labelsOf, type Options, requireWebGpu, type Result } from "./engine";
export { BuildError, HamsaError, InputError, MissingError } from "./errors";
export { pixelsFromFile } from "./images";
export { type Audio, type Manifest, manifestFromJson, type Parity, type Preprocessing } from "./manifest";
export { type Pixels, pixelsFromRgba, withChannels } from "./pixels";
export { blocksOf, resized, tensorFromPixels } from "./preprocess";
export { compareAgain, type Verdict } from "./sample";
export { type Dtype, numbersOf, type Tensor, type Values } from "./tensors";
export { type Clip, clipFromWav } from "./wav";
