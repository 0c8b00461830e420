/**
 * Checks parsed JSON against a JSON Schema: the subset that manifest.schema.json is written in, as schema.py and schema.cpp
 * do. What the schema does not list is refused, so that a misspelt or newer key is an error and never silently ignored.
 *
 * JSON.parse does not tell 1.0 from 1, nor a key that stands twice from one that stands once: here they are the same.
 */
import { InputError } from "./errors";

export interface Node {
  type?: string | string[];
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  minItems?: number;
  maxItems?: number;
  pattern?: string;
  items?: Node;
  properties?: Record<string, Node>;
  required?: string[];
  additionalProperties?: boolean | Node;
  propertyNames?: Node;
  anyOf?: Node[];
  not?: Node;
  $ref?: string;
  $defs?: Record<string, Node>;
  "x-expected"?: string;
}

type Fields = Record<string, unknown>;

const SHOWN = 80; // characters of a value, or of a name
const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const TYPES: Record<string, [string, (value: unknown) => boolean]> = {
  null: ["null", (value) => value === null],
  boolean: ["true or false", (value) => typeof value === "boolean"],
  integer: ["a whole number", (value) => Number.isInteger(value)],
  number: ["a finite number", (value) => typeof value === "number"],
  string: ["a text", (value) => typeof value === "string"],
  array: ["a list", Array.isArray],
  object: ["an object", isFields],
};

/** The error for a value that is not what it should be. */
export function reject(value: unknown, where: string, expected: string, advice: { cause?: string; fix?: string } = {}) {
  const text = JSON.stringify(value) ?? String(value);
  const shown = text.length <= SHOWN ? text : `${text.slice(0, SHOWN - 3)}...`;
  return new InputError(`manifest.json: ${where || "the whole file"} is ${shown}`, { expected, ...advice });
}

export class Schema {
  constructor(private readonly document: Node) {}

  /** @throws InputError, saying what was found where, and what was expected. */
  check(value: unknown): void {
    this.checkNode(this.document, value, "");
  }

  private checkNode(node: Node, value: unknown, where: string): void {
    if (node.$ref) this.checkNode(this.definition(node.$ref), value, where);
    if (node.anyOf) this.checkAnyOf(node, node.anyOf, value, where);
    if (!fits(node, value)) throw reject(value, where, expectedBy(node));
    if (node.not && this.accepts(node.not, value)) throw reject(value, where, node.not["x-expected"] ?? "another");
    if (isFields(value)) this.checkObject(node, value, where);
    if (Array.isArray(value) && node.items) {
      for (const [i, each] of value.entries()) this.checkNode(node.items, each, `${where}[${i}]`);
    }
  }

  private definition(reference: string): Node {
    const found = this.document.$defs?.[reference.replace("#/$defs/", "")];
    if (!found) throw new Error(`the schema has no ${reference}`);
    return found;
  }

  private accepts(node: Node, value: unknown): boolean {
    try {
      this.checkNode(node, value, "");
      return true;
    } catch (error) {
      if (error instanceof InputError) return false;
      throw error;
    }
  }

  /** null, or what the other says, with its words; or one of several, with this node's. */
  private checkAnyOf(node: Node, either: Node[], value: unknown, where: string): void {
    const others = either.filter((each) => each.type !== "null");
    if (value === null && others.length < either.length) return;
    const [only] = others;
    if (only && others.length === 1) this.checkNode(only, value, where);
    else if (!others.some((each) => this.accepts(each, value))) throw reject(value, where, expectedBy(node));
  }

  private checkObject(node: Node, value: Fields, where: string): void {
    const properties = node.properties ?? {};
    const dot = where ? `${where}.` : "";
    const others = Object.keys(value).filter((name) => !Object.hasOwn(properties, name));
    if (node.additionalProperties === false && others.length) {
      throw new InputError(`manifest.json: unknown key "${(dot + others[0]).slice(0, SHOWN)}"`, {
        expected: `only ${Object.keys(properties).join(", ")}`,
        cause: "a misspelling, or a bundle written by a newer version",
      });
    }
    const missing = (node.required ?? []).find((name) => !Object.hasOwn(value, name));
    if (missing) {
      throw new InputError(`manifest.json: ${dot}${missing} is missing`, { expected: node.required?.join(", ") ?? "" });
    }
    for (const [name, inner] of Object.entries(properties)) {
      if (Object.hasOwn(value, name)) this.checkNode(inner, value[name], dot + name);
    }
    for (const name of Object.keys(value)) this.checkNode(node.propertyNames ?? {}, name, `${where}: the name`);
    const rest = node.additionalProperties;
    if (typeof rest === "object") {
      for (const name of others) this.checkNode(rest, value[name], `${where}.${name.slice(0, SHOWN)}`);
    }
  }
}

function typesOf(node: Node): string[] {
  return typeof node.type === "string" ? [node.type] : (node.type ?? []);
}

/** Whether a value is what the node says of it, leaving aside what is in it. */
function fits(node: Node, value: unknown): boolean {
  const types = typesOf(node);
  if (types.length && !types.some((name) => TYPES[name]?.[1](value))) return false;
  if (node.enum && !node.enum.includes(value)) return false;
  if (typeof value === "string") {
    return value.isWellFormed() && (!node.pattern || new RegExp(node.pattern, "u").test(value));
  }
  if (Array.isArray(value)) return value.length >= (node.minItems ?? 0) && value.length <= (node.maxItems ?? Infinity);
  if (typeof value !== "number") return true;
  return (
    Number.isFinite(value) &&
    value >= (node.minimum ?? -Infinity) &&
    value > (node.exclusiveMinimum ?? -Infinity) &&
    value <= (node.maximum ?? Infinity)
  );
}

function expectedBy(node: Node): string {
  if (node["x-expected"]) return node["x-expected"];
  if (node.enum) return `one of ${node.enum.map((each) => JSON.stringify(each)).join(", ")}`;
  const found = typesOf(node)
    .map((name) => TYPES[name]?.[0] ?? name)
    .join("");
  if (node.required?.length) return `${found} with ${node.required.join(", ")}`;
  const bounds = [
    node.minimum !== undefined && `of at least ${node.minimum}`,
    node.exclusiveMinimum !== undefined && `above ${node.exclusiveMinimum}`,
    node.maximum !== undefined && `at most ${node.maximum}`,
    node.minItems !== undefined && `of at least ${node.minItems}`,
    node.maxItems !== undefined && `at most ${node.maxItems}`,
  ].filter(Boolean);
  return bounds.length ? `${found} ${bounds.join(" and ")}` : found;
}
