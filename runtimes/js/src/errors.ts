/** The errors that are raised on purpose. Each says what was found, what was expected, the likely cause and the way out. */

export interface Advice {
  expected?: string;
  cause?: string;
  fix?: string;
}

/** The base of them all; `message` has all parts, one a line, as the other runtimes print them. */
export class HamsaError extends Error {
  override readonly name: string = "HamsaError"; // written out: bundlers shorten the names of classes

  constructor(
    readonly found: string,
    readonly advice: Advice = {},
  ) {
    const { expected, cause, fix } = advice;
    const lines = [found];
    if (expected) lines.push(`  expected: ${expected}`);
    if (cause) lines.push(`  likely cause: ${cause}`);
    if (fix) lines.push(`  try: ${fix}`);
    super(lines.join("\n"));
  }
}

/** Bad input: a bundle, an image, a clip, an array. */
export class InputError extends HamsaError {
  override readonly name = "InputError";
}

/** What was asked for is not in this browser. Nothing else is used in its place. */
export class MissingError extends HamsaError {
  override readonly name = "MissingError";
}

/** onnxruntime-web refused the model; its own message is quoted. */
export class BuildError extends HamsaError {
  override readonly name = "BuildError";
}
