/** Arrays as graphs take and give them: their type, shape, and values in C order. */

const KINDS = {
  bool: Uint8Array,
  uint8: Uint8Array,
  int8: Int8Array,
  int32: Int32Array,
  int64: BigInt64Array,
  float16: Uint16Array, // its bits
  float32: Float32Array,
  float64: Float64Array,
} as const;

export type Dtype = keyof typeof KINDS;
export type Values = InstanceType<(typeof KINDS)[Dtype]>;

export interface Tensor {
  dtype: Dtype;
  shape: number[];
  data: Values;
}

export const countOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

export const bytesOf = (dtype: Dtype, shape: readonly number[]): number =>
  countOf(shape) * KINDS[dtype].BYTES_PER_ELEMENT;

/** Zeros. */
export function zeros(dtype: Dtype, shape: number[]): Tensor {
  return { dtype, shape, data: new KINDS[dtype](countOf(shape)) };
}

/** From little-endian bytes, as files hold them; browsers run on nothing else. */
export function tensorFromBytes(dtype: Dtype, shape: number[], bytes: Uint8Array): Tensor {
  const copy = bytes.slice(0, bytesOf(dtype, shape));
  return { dtype, shape, data: new KINDS[dtype](copy.buffer as ArrayBuffer) };
}

/** The values as numbers; of int64 those beyond 2^53 are rounded. */
export function numbersOf({ dtype, data }: Tensor): ArrayLike<number> {
  if (dtype === "float16") return Float64Array.from(data as Uint16Array, numberFromHalf);
  return dtype === "int64" ? Float64Array.from(data as BigInt64Array, Number) : (data as Float32Array);
}

/** A sign, five bits of exponent, and ten of fraction. */
function numberFromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
}
